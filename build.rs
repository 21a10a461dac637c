//! Link settings of the Node.js addon. The channel schema has its own crate and build script.

fn main() {
    napi_build::setup();
}
