//! Archives that were changed, signers that are not who they say, and certificates of every kind.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Cursor, Write};
use std::sync::LazyLock;

use chrono::{DateTime, Days, TimeDelta, Utc};
use hikigane_store::Objects;
use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::archive::{Archive, ArchiveError};
use super::*;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::generate("tests").unwrap().0);

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Stored)
}

/// Three entries, one of them executable, one deflated.
fn package() -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("index.mjs", options()).unwrap();
    zip.write_all(b"export const handler = async () => 1;").unwrap();
    zip.start_file("bin/run.sh", options().unix_permissions(0o755)).unwrap();
    zip.write_all(b"#!/bin/sh\n").unwrap();
    zip.start_file("data.txt", options().compression_method(CompressionMethod::Deflated))
        .unwrap();
    zip.write_all(&[b'a'; 300]).unwrap();
    zip.finish().unwrap().into_inner()
}

fn terms(signer: &Signer) -> Terms {
    Terms {
        profile: ProfileVersion::of_certificate(&signer.certificate().fingerprint()),
        job: JobId::random(),
        signed_at: now(),
        expires_at: now() + Days::new(90),
    }
}

fn signed() -> Vec<u8> {
    SIGNER.sign(&package(), terms(&SIGNER)).unwrap()
}

/// Trusts this signer, in the name of its certificate.
fn trusting(signer: &Signer) -> Trust {
    let certificate = signer.certificate().fingerprint();
    let publisher = Publisher {
        certificate: certificate.clone(),
        revoked_from: None,
    };
    Trust {
        publishers: [(ProfileVersion::of_certificate(&certificate), publisher)].into(),
        ..Trust::default()
    }
}

fn verdict(zip: &[u8]) -> Verdict {
    verify(zip, now(), &trusting(&SIGNER))
}

#[track_caller]
fn is_broken(zip: &[u8], why: &str) {
    match verdict(zip) {
        Verdict::Broken(message) => assert!(message.contains(why), "{message}"),
        other => panic!("{other:?}"),
    }
}

/// The paths that the store unpacks.
fn unpacked(zip: &[u8]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("code.zip");
    std::fs::write(&path, zip).unwrap();
    let code = Objects::open(directory.path()).unwrap().files(&path, &[]).unwrap().code;
    let mut found = Vec::new();
    let mut left = vec![code.clone()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push(path.strip_prefix(&code).unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

#[test]
fn a_signed_archive_is_trusted_and_unpacks_as_before() {
    let Verdict::Trusted(signature) = verdict(&signed()) else {
        panic!("not trusted");
    };
    assert_eq!(signature.certificate.subject(), "CN=tests");
    assert_eq!(signature.statement.signed_at, now());
    assert_eq!(
        unpacked(&signed()),
        [ENTRY, "bin/run.sh", "data.txt", "index.mjs"].map(str::to_owned)
    );
    assert_eq!(verdict(&package()), Verdict::Unsigned);
}

#[test]
fn signing_again_replaces_the_signature() {
    let terms = terms(&SIGNER);
    let again = SIGNER.sign(&signed(), terms.clone()).unwrap();
    let Verdict::Trusted(signature) = verdict(&again) else {
        panic!("not trusted");
    };
    assert_eq!(signature.statement.job, terms.job);
    let (archive, _) = Archive::read(&again).unwrap().unwrap();
    assert_eq!(archive.digest(), Archive::parse(&package()).unwrap().digest());
}

#[test]
fn an_archive_of_nothing_and_one_with_a_comment_can_be_signed() {
    let empty = ZipWriter::new(Cursor::new(Vec::new())).finish().unwrap().into_inner();
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.set_comment("release 7").unwrap();
    zip.start_file("a", options()).unwrap();
    let commented = zip.finish().unwrap().into_inner();
    for package in [empty, commented.clone()] {
        let signed = SIGNER.sign(&package, terms(&SIGNER)).unwrap();
        assert!(matches!(verdict(&signed), Verdict::Trusted(_)));
    }
    let mut signed = SIGNER.sign(&commented, terms(&SIGNER)).unwrap();
    *signed.last_mut().unwrap() = b'8';
    is_broken(&signed, "changed");
}

#[test]
fn no_bit_of_a_signed_archive_can_be_flipped() {
    let signed = signed();
    let header = b"PK\x01\x02";
    let last = signed.windows(4).rposition(|bytes| bytes == header).unwrap();
    for at in 0..signed.len() {
        for bit in 0..8 {
            let mut changed = signed.clone();
            changed[at] ^= 1 << bit;
            // Where the entry of the signature loses its name, the archive has no signature.
            let nameless = (last..last + 46 + ENTRY.len()).contains(&at);
            match verdict(&changed) {
                Verdict::Broken(_) => {}
                Verdict::Unsigned if nameless => {}
                other => panic!("bit {bit} of byte {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn no_byte_of_a_signed_archive_can_be_taken_away_or_added() {
    let signed = signed();
    for at in 0..signed.len() {
        let shorter = [&signed[..at], &signed[at + 1..]].concat();
        let longer = [&signed[..at], b"\0", &signed[at..]].concat();
        let cut = &signed[..at];
        for changed in [shorter.as_slice(), &longer, cut] {
            assert!(
                matches!(verdict(changed), Verdict::Broken(_) | Verdict::Unsigned),
                "at {at}"
            );
        }
    }
    is_broken(&[b"MZ".as_slice(), &signed].concat(), "plain zip");
    is_broken(&[&signed, b"MZ".as_slice()].concat(), "plain zip");
}

#[test]
fn entries_cannot_be_added_changed_or_doubled_by_tools() {
    // Tools copy the signature's entry, with a header of their own, and write a directory of their own.
    let mut appended = ZipWriter::new_append(Cursor::new(signed())).unwrap();
    appended.start_file("more.mjs", options()).unwrap();
    is_broken(&appended.finish().unwrap().into_inner(), "not what signing wrote");

    let mut zip = zip::ZipArchive::new(Cursor::new(signed())).unwrap();
    let mut rewritten = ZipWriter::new(Cursor::new(Vec::new()));
    for index in 0..zip.len() {
        rewritten.raw_copy_file(zip.by_index_raw(index).unwrap()).unwrap();
    }
    assert!(matches!(
        verdict(&rewritten.finish().unwrap().into_inner()),
        Verdict::Broken(_)
    ));

    // A second archive before, after and within.
    let signed = signed();
    is_broken(&[package(), signed.clone()].concat(), "plain zip");
    is_broken(&[signed.clone(), package()].concat(), "");
    is_broken(&[signed.clone(), signed].concat(), "");
}

#[test]
fn a_signature_of_one_archive_does_not_fit_another() {
    let signed = signed();
    let (_, signature) = Archive::read(&signed).unwrap().unwrap();
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("evil.mjs", options()).unwrap();
    let other = zip.finish().unwrap().into_inner();
    let forged = Archive::parse(&other).unwrap().with(signature).unwrap();
    is_broken(&forged, "changed after it was signed");
}

#[test]
fn a_signed_archive_within_an_archive_does_not_sign_it() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("layer.zip", options()).unwrap();
    zip.write_all(&signed()).unwrap();
    assert_eq!(verdict(&zip.finish().unwrap().into_inner()), Verdict::Unsigned);
}

#[test]
fn who_has_another_key_cannot_sign_in_a_publishers_name() {
    let (stranger, _) = Signer::generate("tests").unwrap();
    let claimed = stranger.sign(&package(), terms(&SIGNER)).unwrap();
    assert!(matches!(verdict(&claimed), Verdict::Mismatch(_)));
    let honest = stranger.sign(&package(), terms(&stranger)).unwrap();
    assert!(matches!(verdict(&honest), Verdict::Mismatch(_)));
    // Another publisher that is allowed, but not that one.
    let mut trust = trusting(&SIGNER);
    trust.publishers.extend(trusting(&stranger).publishers);
    assert!(matches!(verify(&claimed, now(), &trust), Verdict::Mismatch(_)));
    assert!(matches!(verify(&honest, now(), &trust), Verdict::Trusted(_)));
}

#[test]
fn the_certificate_of_another_cannot_be_put_into_a_signature() {
    let (stranger, _) = Signer::generate("tests").unwrap();
    let own = stranger.sign(&package(), terms(&SIGNER)).unwrap();
    let (archive, signature) = Archive::read(&own).unwrap().unwrap();
    let signed = signed();
    let (_, trusted) = Archive::read(&signed).unwrap().unwrap();
    let parts = |text: &[u8]| -> Vec<String> {
        let text = std::str::from_utf8(text).unwrap();
        text.split('.').map(str::to_owned).collect()
    };
    let (own, trusted) = (parts(signature), parts(trusted));
    for (header, payload, signature) in [
        (&trusted[0], &own[1], &own[2]),
        (&own[0], &own[1], &trusted[2]),
        (&trusted[0], &own[1], &trusted[2]),
    ] {
        let text = format!("{header}.{payload}.{signature}");
        is_broken(&archive.with(text.as_bytes()).unwrap(), "key did not make it");
    }
}

#[test]
fn signatures_expire_and_are_revoked() {
    let terms = terms(&SIGNER);
    let signed = SIGNER.sign(&package(), terms.clone()).unwrap();
    let trust = trusting(&SIGNER);
    let second = TimeDelta::seconds(1);
    let at = |moment| verify(&signed, moment, &trust);
    assert!(matches!(at(terms.expires_at - second), Verdict::Trusted(_)));
    assert!(matches!(at(terms.expires_at), Verdict::Expired(_)));

    let mut revoked = trust.clone();
    revoked.revoked.insert(JobId::random());
    assert!(matches!(verify(&signed, now(), &revoked), Verdict::Trusted(_)));
    revoked.revoked.insert(terms.job.clone());
    assert!(matches!(verify(&signed, now(), &revoked), Verdict::Revoked(_)));

    for (from, is_revoked) in [(now() + second, false), (now(), true), (now() - second, true)] {
        let mut trust = trust.clone();
        let publisher = trust.publishers.get_mut(&terms.profile).unwrap();
        publisher.revoked_from = Some(from);
        let verdict = verify(&signed, now(), &trust);
        assert_eq!(matches!(verdict, Verdict::Revoked(_)), is_revoked, "{verdict:?}");
    }
}

/// A signer whose certificate is valid in these years.
fn valid_between(from: i32, to: i32) -> Signer {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(to, 1, 1);
    let certificate = parameters.self_signed(&pair).unwrap();
    Signer::from_der(pair.serialized_der(), certificate.der()).unwrap()
}

#[test]
fn a_signature_ends_with_its_certificate() {
    // `now` is in January 2027.
    let signer = valid_between(2026, 2028);
    let end = signer.certificate().not_after();
    let mut terms = terms(&signer);
    terms.expires_at = end;
    let signed = signer.sign(&package(), terms.clone()).unwrap();
    let at = |moment| verify(&signed, moment, &trusting(&signer));
    assert!(matches!(at(now()), Verdict::Trusted(_)));
    assert!(matches!(at(end + TimeDelta::seconds(1)), Verdict::Expired(_)));
    assert!(matches!(
        at(signer.certificate().not_before() - TimeDelta::seconds(1)),
        Verdict::Expired(_)
    ));

    terms.expires_at = end + TimeDelta::seconds(1);
    assert!(matches!(
        signer.sign(&package(), terms.clone()),
        Err(SignError::Expiry(_))
    ));
    terms.expires_at = terms.signed_at;
    assert!(matches!(signer.sign(&package(), terms), Err(SignError::Expiry(_))));
    for (from, to) in [(2020, 2025), (2028, 2030)] {
        let signer = valid_between(from, to);
        let refused = signer.sign(&package(), self::terms(&signer));
        assert!(matches!(refused, Err(SignError::NotValid { .. })), "{from}");
    }
}

#[test]
fn keys_and_certificates_that_do_not_fit_are_refused_by_name() {
    let pair = |algorithm| {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        (key.serialized_der().to_vec(), certificate.der().to_vec())
    };
    let (key, certificate) = pair(&rcgen::PKCS_ECDSA_P384_SHA384);
    let (_, other) = pair(&rcgen::PKCS_ECDSA_P384_SHA384);
    let (short_key, short_certificate) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    assert!(Signer::from_der(&key, &certificate).is_ok());
    assert!(matches!(Signer::from_der(&key, &other), Err(SignError::Strangers)));
    assert!(matches!(
        Signer::from_der(&short_key, &certificate),
        Err(SignError::Curve)
    ));
    assert!(matches!(
        Signer::from_der(&key, &short_certificate),
        Err(SignError::Certificate(CertificateError::Curve))
    ));
    assert!(matches!(
        Signer::from_der(&key, b"no"),
        Err(SignError::Certificate(CertificateError::Unreadable(_)))
    ));
    assert!(matches!(Signer::from_pem(b"no", b"no"), Err(SignError::NoKey)));
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(matches!(Signer::from_pem(encrypted, b""), Err(SignError::Encrypted)));
}

#[test]
fn only_the_algorithm_of_the_format_is_read() {
    let signed = signed();
    let (archive, signature) = Archive::read(&signed).unwrap().unwrap();
    let text = std::str::from_utf8(signature).unwrap();
    let (header, rest) = text.split_once('.').unwrap();
    let decode = |text: &str| base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text).unwrap();
    let header = String::from_utf8(decode(header)).unwrap();
    for (from, to, why) in [
        ("ES384", "none", "not of the kind"),
        ("ES384", "HS384", "not of the kind"),
        (r#"{"alg""#, r#"{"crit":["x"],"alg""#, "unknown field"),
        (r#"{"alg""#, r#"{"jwk":{},"alg""#, "unknown field"),
    ] {
        assert!(header.contains(from), "{header}");
        let header = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, header.replacen(from, to, 1));
        is_broken(&archive.with(format!("{header}.{rest}").as_bytes()).unwrap(), why);
    }
    for text in ["", ".", "..", "a.b.c", "\u{fffd}.."] {
        is_broken(&archive.with(text.as_bytes()).unwrap(), "cannot be used");
    }
}

#[test]
fn archives_without_room_or_that_are_none_are_not_signed() {
    let sign = |zip: &[u8]| SIGNER.sign(zip, terms(&SIGNER));
    for zip in [b"".as_slice(), b"PK", &[b"MZ".as_slice(), &package()].concat()] {
        assert!(matches!(sign(zip), Err(SignError::Archive(ArchiveError::NotPlain))));
    }
    // As many entries as a plain zip can have.
    let mut full = package();
    let end = full.len() - 22;
    full[end + 8..end + 12].copy_from_slice(&[0xfe, 0xff, 0xfe, 0xff]);
    assert!(matches!(sign(&full), Err(SignError::Archive(ArchiveError::Full))));
}

#[test]
fn arns_are_read_and_written() {
    let fingerprint = SIGNER.certificate().fingerprint();
    let own = ProfileVersion::of_certificate(&fingerprint);
    assert_eq!(own.to_string().parse(), Ok(own.clone()));
    assert_eq!(own.fingerprint(), Some(fingerprint.clone()));
    let named = ProfileVersion::new("release", "AbCdEfGh12").unwrap();
    assert_eq!(
        named.to_string(),
        "arn:aws:signer:us-east-1:000000000000:/signing-profiles/release/AbCdEfGh12"
    );
    assert_eq!(named.fingerprint(), None);
    // A fingerprint with a version that is not its own means no certificate.
    let odd = ProfileVersion::new(fingerprint.as_str(), "AbCdEfGh12").unwrap();
    assert_eq!(odd.fingerprint(), None);
    for text in [
        "",
        "release",
        "arn:aws:signer:us-east-1:000000000000:/signing-profiles/release",
        "arn:aws:signer:us-east-1:000000000000:/signing-profiles/re-lease/AbCdEfGh12",
        "arn:aws:signer:us-east-1:000000000000:/signing-profiles/release/short",
    ] {
        assert!(text.parse::<ProfileVersion>().is_err(), "{text}");
    }
    let job = JobId::random();
    assert_eq!(JobId::from_arn(&job.arn()), Some(job));
    assert_eq!(JobId::parse("../../etc/passwd"), None);
}

proptest! {
    #[test]
    fn parts_make_the_zip_again(zip in proptest::collection::vec(any::<u8>(), 0..200), comment in "[a-z]{0,9}") {
        let _ = Archive::parse(&zip);
        let _ = verdict(&zip);
        let mut package = ZipWriter::new(Cursor::new(Vec::new()));
        package.set_comment(comment).unwrap();
        package.start_file("a", options()).unwrap();
        package.write_all(&zip).unwrap();
        let package = package.finish().unwrap().into_inner();
        let archive = Archive::parse(&package).unwrap();
        let signed = archive.with(b"signature").unwrap();
        prop_assert_eq!(Archive::read(&signed).unwrap(), Some((archive, b"signature".as_slice())));
    }

    #[test]
    fn no_bytes_written_over_others_are_trusted_or_make_it_panic(
        at in 0_usize..2000,
        bytes in proptest::collection::vec(any::<u8>(), 1..12),
    ) {
        let signed = signed();
        let mut zip = signed.clone();
        let at = at % zip.len();
        let length = bytes.len().min(zip.len() - at);
        zip[at..at + length].copy_from_slice(&bytes[..length]);
        prop_assert!(zip == signed || !matches!(verdict(&zip), Verdict::Trusted(_)));
    }
}

#[test]
fn a_key_that_is_kept_signs_again() {
    let (signer, pkcs8) = Signer::generate("kept").unwrap();
    let again = Signer::from_der(&pkcs8, signer.certificate().der()).unwrap();
    let signed = again.sign(&package(), terms(&signer)).unwrap();
    assert!(matches!(
        verify(&signed, now(), &trusting(&signer)),
        Verdict::Trusted(_)
    ));
}
