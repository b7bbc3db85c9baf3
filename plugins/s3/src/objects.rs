//! The buckets' objects, for those who take code from there.

use std::fs::File;

use hikigane_trigger::{ObjectError, ObjectStore};

use crate::glob::Ignore;
use crate::key::ObjectKey;
use crate::tree::Tree;

/// The buckets of an open source.
pub(crate) struct Buckets(pub(crate) Vec<BucketObjects>);

/// One of them.
pub(crate) struct BucketObjects {
    pub(crate) name: String,
    pub(crate) tree: Tree,
    /// What is no object.
    pub(crate) ignore: Ignore,
}

impl ObjectStore for Buckets {
    fn open(&self, bucket: &str, key: &str) -> Result<File, ObjectError> {
        let mut buckets = self.0.iter();
        let bucket = buckets
            .find(|candidate| candidate.name == bucket)
            .ok_or(ObjectError::NoSuchBucket)?;
        let key = ObjectKey::from(key);
        // Keys that no file can have. `..` would lead out of the directory.
        let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && name.len() <= 255 && !name.contains(&0);
        if !key.components().all(is_name) || bucket.ignore.covers(&key) {
            return Err(ObjectError::NoSuchKey);
        }
        match bucket.tree.open(&key)? {
            Some((file, _)) => Ok(file),
            None => Err(ObjectError::NoSuchKey),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::glob::DEFAULT_IGNORE;

    #[test]
    fn only_objects_of_the_bucket_are_given() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("bucket");
        std::fs::create_dir_all(root.join("in")).unwrap();
        for (path, text) in [
            ("secret", "secret"),
            ("bucket/a.zip", "a"),
            ("bucket/in/b c.zip", "b"),
            ("bucket/.hidden", "no"),
            ("bucket/x.part", "no"),
        ] {
            std::fs::write(directory.path().join(path), text).unwrap();
        }
        symlink(directory.path().join("secret"), root.join("link")).unwrap();
        symlink(directory.path(), root.join("out")).unwrap();
        let buckets = Buckets(vec![BucketObjects {
            name: "code".to_owned(),
            tree: Tree::new(root.clone()),
            ignore: Ignore::new(DEFAULT_IGNORE),
        }]);
        let read = |bucket: &str, key: &str| {
            let mut text = String::new();
            let read = buckets.open(bucket, key).map(|mut file| file.read_to_string(&mut text));
            read.map(|_| text).map_err(|error| error.to_string())
        };
        assert_eq!(read("code", "a.zip"), Ok("a".to_owned()));
        assert_eq!(read("code", "in/b c.zip"), Ok("b".to_owned()));
        for key in [
            "../secret",
            "in/../../secret",
            "in/../a.zip",
            "./a.zip",
            "/a.zip",
            "in//b c.zip",
            "in/",
            "in",
            "",
            "..",
            "a\0",
            "link",
            "out/secret",
            ".hidden",
            "x.part",
            "A.zip",
            "a.zip/b",
        ] {
            assert_eq!(read("code", key), Err("there is no such object".to_owned()), "{key:?}");
        }
        assert_eq!(read("other", "a.zip"), Err("there is no such bucket".to_owned()));
        std::fs::remove_dir_all(root).unwrap();
        assert_eq!(read("code", "a.zip"), Err("there is no such object".to_owned()));
    }
}
