//! Where a zip carries its signature: in its last entry, [`ENTRY`].
//!
//! What is signed is the archive without that entry, every byte of it, so that no two programs can read what was signed differently. A signed
//! archive is exactly what [`Archive::with`] makes of the archive and the signature: nothing else is taken for signed. The formats are those of
//! PKWARE's APPNOTE.TXT; ZIP64, which begins at 65,535 entries or 4 GiB, is not signed.

use sha2::{Digest as _, Sha384};

/// The entry that is the signature. Unpacked code has it, too.
pub const ENTRY: &str = "META-INF/hikigane-signature.jws";

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const LOCAL_LENGTH: usize = 30;
const CENTRAL_LENGTH: usize = 46;
const END_LENGTH: usize = 22;

/// SHA-384 of an archive without its signature.
pub type Digest = [u8; 48];

/// Why an archive cannot be signed, or cannot be what was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It is no zip, a ZIP64, or has bytes before, between or after the parts of a zip.
    #[error(
        "it is no plain zip: entries, directory and end must follow each other without a gap, with less than 65,535 entries and 4 GiB"
    )]
    NotPlain,
    /// It has the entry of a signature, but not where and how signing writes it.
    #[error("its entry \"{ENTRY}\" is not what signing wrote")]
    Misplaced,
    /// Its signature would be too long.
    #[error("it has no room for a signature: a zip has at most 65,534 entries and 4 GiB")]
    Full,
}

/// A plain zip, in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Archive<'a> {
    /// The entries, each with its local header.
    entries: &'a [u8],
    /// The central directory.
    directory: &'a [u8],
    count: u16,
    comment: &'a [u8],
}

impl<'a> Archive<'a> {
    /// Finds the parts of a zip. [`Archive::to_bytes`] gives back exactly the same bytes.
    pub fn parse(zip: &'a [u8]) -> Result<Self, ArchiveError> {
        let at = end_of_directory(zip).ok_or(ArchiveError::NotPlain)?;
        let end = &zip[at..];
        // Numbers of disks, and the entries on this one.
        if end[4..8] != [0; 4] || end[8..10] != end[10..12] {
            return Err(ArchiveError::NotPlain);
        }
        let (count, size, start) = (short(end, 10), long(end, 12), long(end, 16));
        if count == u16::MAX || start.checked_add(size) != Some(at) {
            return Err(ArchiveError::NotPlain);
        }
        Ok(Self {
            entries: &zip[..start],
            directory: &zip[start..at],
            count,
            comment: &end[END_LENGTH..],
        })
    }

    /// The archive without its signature, and the signature; `None` when it has none.
    ///
    /// # Errors
    ///
    /// It has the signature's entry, and signing did not write it there.
    pub fn read(zip: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, ArchiveError> {
        let parsed = Self::parse(zip);
        // A file of the archive may be a signed archive itself: of a plain one, only the directory says what it has.
        let listed = lists_signature(parsed.as_ref().map_or(zip, |archive| archive.directory));
        if !listed {
            return Ok(None);
        }
        parsed?.without().ok_or(ArchiveError::Misplaced).map(Some)
    }

    /// What a signature of this archive signs.
    pub fn digest(&self) -> Digest {
        let hash = Sha384::new()
            .chain_update(self.entries)
            .chain_update(self.directory)
            .chain_update(self.end(self.entries.len(), self.directory.len(), self.count))
            .chain_update(self.comment);
        hash.finalize().into()
    }

    /// The signed archive.
    pub fn with(&self, signature: &[u8]) -> Result<Vec<u8>, ArchiveError> {
        let (local, central) = entry(signature, self.entries.len());
        let start = self.entries.len() + local.len() + signature.len();
        let size = self.directory.len() + central.len();
        let count = self.count.checked_add(1).filter(|count| *count < u16::MAX);
        let count = count.ok_or(ArchiveError::Full)?;
        if start + size >= u32::MAX as usize {
            return Err(ArchiveError::Full);
        }
        Ok([
            self.entries,
            &local,
            signature,
            self.directory,
            &central,
            &self.end(start, size, count),
            self.comment,
        ]
        .concat())
    }

    /// The archive that [`Archive::with`] made this one of, and the signature; `None` when it did not make it.
    fn without(&self) -> Option<(Self, &'a [u8])> {
        let length = CENTRAL_LENGTH + ENTRY.len();
        let (directory, header) = self
            .directory
            .split_at_checked(self.directory.len().checked_sub(length)?)?;
        let (entries, last) = self.entries.split_at_checked(long(header, 42))?;
        let (local, signature) = last.split_at_checked(LOCAL_LENGTH + ENTRY.len())?;
        let archive = Self {
            entries,
            directory,
            count: self.count.checked_sub(1)?,
            comment: self.comment,
        };
        let as_written = (local.to_vec(), header.to_vec()) == entry(signature, entries.len());
        as_written.then_some((archive, signature))
    }

    /// The record that ends a zip, but for the comment (APPNOTE.TXT 4.3.16).
    fn end(&self, start: usize, size: usize, count: u16) -> [u8; END_LENGTH] {
        let mut end = [0; END_LENGTH];
        end[..4].copy_from_slice(&END);
        end[8..10].copy_from_slice(&count.to_le_bytes());
        end[10..12].copy_from_slice(&count.to_le_bytes());
        end[12..16].copy_from_slice(&(size as u32).to_le_bytes());
        end[16..20].copy_from_slice(&(start as u32).to_le_bytes());
        end[20..].copy_from_slice(&(self.comment.len() as u16).to_le_bytes());
        end
    }
}

/// The local and the central header of the signature, whose entry begins at `offset`: stored, readable by all, without a date, so that there is
/// one way to write it (APPNOTE.TXT 4.3.7 and 4.3.12).
fn entry(signature: &[u8], offset: usize) -> (Vec<u8>, Vec<u8>) {
    let mut crc = crc32fast::Hasher::new();
    crc.update(signature);
    let mut shared = Vec::new();
    // Version 2.0, no flags, stored, 1980-01-01 00:00.
    for value in [20_u16, 0, 0, 0, 0x21] {
        shared.extend(value.to_le_bytes());
    }
    for value in [crc.finalize(), signature.len() as u32, signature.len() as u32] {
        shared.extend(value.to_le_bytes());
    }
    shared.extend((ENTRY.len() as u16).to_le_bytes());
    shared.extend([0, 0]);
    let local = [&LOCAL, shared.as_slice(), ENTRY.as_bytes()].concat();
    // Made on Unix; no comment, disk 0, no internal attributes; a file of mode 444.
    let mut central = [&CENTRAL, [20, 3].as_slice(), &shared, &[0; 6]].concat();
    central.extend((0o100_444_u32 << 16).to_le_bytes());
    central.extend((offset as u32).to_le_bytes());
    central.extend(ENTRY.as_bytes());
    (local, central)
}

/// Whether there is a central header with the signature's name.
fn lists_signature(bytes: &[u8]) -> bool {
    bytes.windows(CENTRAL_LENGTH + ENTRY.len()).any(|header| {
        header.starts_with(&CENTRAL)
            && usize::from(short(header, 28)) == ENTRY.len()
            && header.ends_with(ENTRY.as_bytes())
    })
}

/// Where the record that ends the zip begins: the last one whose comment reaches to the last byte.
fn end_of_directory(zip: &[u8]) -> Option<usize> {
    let last = zip.len().checked_sub(END_LENGTH)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    (first..=last)
        .rev()
        .find(|&at| zip[at..].starts_with(&END) && usize::from(short(&zip[at..], 20)) == last - at)
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
}
