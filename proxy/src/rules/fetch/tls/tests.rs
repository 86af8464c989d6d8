use bumpalo::Bump;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber, date_time_ymd};

use super::certificate::Field;
use super::names::Form;
use crate::rules::sample::{Kind, Value};

fn certificate() -> Vec<u8> {
    let mut params = CertificateParams::default();
    // The default has a common name, which would stay the first.
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "FR");
    name.push(DnType::OrganizationName, "Example, Inc");
    name.push(DnType::OrganizationalUnitName, "Tests");
    name.push(DnType::CommonName, "#1 client");
    params.distinguished_name = name;
    params.serial_number = Some(SerialNumber::from_slice(&[0x8f, 1, 2]));
    params.not_before = date_time_ymd(2024, 2, 3);
    params.not_after = date_time_ymd(2049, 12, 31);
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

fn entry(name: &str, occurrence: i64) -> Field {
    Field::Subject(Form::Entry {
        name: name.into(),
        occurrence,
    })
}

#[test]
fn fields() {
    let der = certificate();
    let arena = Bump::new();
    let text = |text: &'static str| Some(Value::Str(text.as_bytes()));
    for (field, value) in [
        (Field::Version, Some(Value::Int(3))),
        (Field::Serial, Some(Value::Bin(&[0x8f, 1, 2]))),
        (Field::NotBefore, text("240203000000Z")),
        (Field::NotAfter, text("491231000000Z")),
        (Field::Key, text("id-ecPublicKey")),
        (Field::Signature, text("ecdsa-with-SHA256")),
        (
            Field::Subject(Form::OneLine),
            text("/C=FR/O=Example, Inc/OU=Tests/CN=#1 client"),
        ),
        (
            Field::Issuer(Form::Rfc2253),
            text("CN=\\#1 client,OU=Tests,O=Example\\, Inc,C=FR"),
        ),
        (entry("CN", 1), text("#1 client")),
        (entry("cn", -1), text("#1 client")),
        (entry("CN", 2), None),
        (entry("CN", -2), None),
        (entry("CN", 0), None),
        (entry("L", 1), None),
    ] {
        assert_eq!(field.of(&der, &arena), value, "{field:?}");
        let kind_is_right = matches!(
            (field.kind(), value),
            (Kind::Int, Some(Value::Int(_)))
                | (Kind::Bin, Some(Value::Bin(_)))
                | (Kind::Str, Some(Value::Str(_)) | None)
        );
        assert!(kind_is_right, "{field:?}");
    }
    let Some(Value::Bin(fingerprint)) = Field::Sha1.of(&der, &arena) else {
        panic!("no fingerprint");
    };
    assert_eq!(fingerprint.len(), 20);
    assert_eq!(Field::Der.of(&der, &arena), Some(Value::Bin(&der)));
}

#[test]
fn what_is_no_certificate() {
    let arena = Bump::new();
    for field in [
        Field::Serial,
        Field::Version,
        Field::NotAfter,
        Field::Key,
        Field::Signature,
        Field::Subject(Form::OneLine),
    ] {
        assert_eq!(field.of(b"not DER", &arena), None, "{field:?}");
    }
}
