//! Writes good input for each target into the folder that is named: `seeds FOLDER`.

use std::{env, error::Error, fs, path::PathBuf};

use mediasoup_horizontal::fuzzing::TARGETS;

#[path = "../src/fuzzing/seeds.rs"]
mod seeds;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::args_os().nth(1).ok_or("name a folder")?);
    for (name, _) in TARGETS {
        let folder = folder.join(name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds::of(name).into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
