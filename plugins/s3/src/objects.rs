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
        let (bucket, key) = self.find(bucket, key)?;
        match bucket.tree.open(&key)? {
            Some((file, _)) => Ok(file),
            None => Err(ObjectError::NoSuchKey),
        }
    }

    fn put(&self, bucket: &str, key: &str, content: &[u8]) -> Result<(), ObjectError> {
        let (bucket, key) = self.find(bucket, key)?;
        Ok(bucket.tree.write(&key, content)?)
    }
}

impl Buckets {
    /// The bucket, and a key that a file in it can have.
    fn find(&self, bucket: &str, key: &str) -> Result<(&BucketObjects, ObjectKey), ObjectError> {
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
        Ok((bucket, key))
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

        buckets.put("code", "out-1/signed/a.zip", b"new").unwrap();
        buckets.put("code", "a.zip", b"newer").unwrap();
        assert_eq!(read("code", "out-1/signed/a.zip"), Ok("new".to_owned()));
        assert_eq!(read("code", "a.zip"), Ok("newer".to_owned()));
        for key in ["../x", "out/x", "link/x", ".hidden", "x.part", "in", ""] {
            assert!(buckets.put("code", key, b"no").is_err(), "{key:?}");
        }
        // A link is replaced, not followed; nothing half made is left.
        buckets.put("code", "link", b"own").unwrap();
        assert_eq!(std::fs::read(directory.path().join("secret")).unwrap(), b"secret");
        assert!(!directory.path().join("x").exists());
        let names = std::fs::read_dir(&root).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(
            names
                .into_iter()
                .all(|name| name == "x.part" || !name.ends_with(".part"))
        );
        std::fs::remove_dir_all(root).unwrap();
        assert_eq!(read("code", "a.zip"), Err("there is no such object".to_owned()));
    }
}
