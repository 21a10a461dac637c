//! What became of objects that are gone with a worker, for whoever still calls them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// So many are remembered, the latest.
const REMEMBERED: usize = 4096;

/// Objects that are gone with a worker, and why.
#[derive(Debug, Default)]
pub struct LostObjects {
    why: HashMap<String, Arc<str>>,
    order: VecDeque<String>,
}

impl LostObjects {
    pub fn add(&mut self, id: &str, why: &Arc<str>) {
        if self.why.insert(id.to_owned(), Arc::clone(why)).is_none() {
            self.order.push_back(id.to_owned());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.why.remove(&oldest);
        }
    }

    pub fn why(&self, id: &str) -> Option<&str> {
        self.why.get(id).map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_latest() {
        let mut lost = LostObjects::default();
        let why: Arc<str> = "its host is gone".into();
        for number in 0..=REMEMBERED {
            lost.add(&number.to_string(), &why);
            lost.add("0", &why);
        }
        assert_eq!(lost.why("2"), Some("its host is gone"));
        assert_eq!(lost.why(&REMEMBERED.to_string()), Some("its host is gone"));
        assert_eq!(lost.why("never"), None);
        assert_eq!(lost.why.len(), lost.order.len());
        assert!(lost.why.len() <= REMEMBERED);
    }
}
