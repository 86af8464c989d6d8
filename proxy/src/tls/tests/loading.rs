//! Files that cannot be used, and loading them again.

use std::fs;

use super::{Key, Place, meet, names_file};

#[test]
fn what_cannot_be_loaded_is_named() {
    let place = Place::new();
    let (chain, key) = place.issue(Key::Ec, &["s.example"], false);
    let (_, other_key) = place.issue(Key::Ec, &["s.example"], false);
    place.write("good.pem", &(chain.clone() + &key));
    place.write("nokey.pem", &chain);
    place.write("nochain.pem", &key);
    place.write("mismatch.pem", &(chain + &other_key));
    place.write("junk.pem", "not PEM at all\n");
    fs::create_dir(place.path("empty")).unwrap();
    let cases = [
        ("crt missing.pem", "missing.pem"),
        ("crt nokey.pem", "nokey.pem"),
        ("crt nochain.pem", "nochain.pem"),
        ("crt mismatch.pem", "mismatch.pem"),
        ("crt junk.pem", "junk.pem"),
        ("crt empty", "empty"),
        ("crt good.pem verify required ca-file none.pem", "none.pem"),
        ("crt good.pem verify required ca-file junk.pem", "junk.pem"),
    ];
    for (words, file) in cases {
        let errors = place.bind(words).err().unwrap_or_else(|| panic!("{words}"));
        assert!(
            names_file(&errors, &place.path(file)),
            "{words}: {errors:?}"
        );
        assert!(errors[0].starts_with("test.cfg:"), "{errors:?}");
    }
    // Every fault is reported, not the first alone.
    let errors = place.bind("crt missing.pem crt nokey.pem").err().unwrap();
    assert!(
        names_file(&errors, &place.path("missing.pem")),
        "{errors:?}"
    );
    assert!(names_file(&errors, &place.path("nokey.pem")), "{errors:?}");
}

#[test]
fn a_wrong_line_of_a_list_is_named() {
    let place = Place::new();
    place.bundle("good.pem", &["s.example"]);
    let good = place.path("good.pem");
    let list = place.write(
        "list.txt",
        &format!("{0}\n\n{0} [nonsense on]\n", good.display()),
    );
    let errors = place
        .bind(&format!("crt-list {}", list.display()))
        .err()
        .unwrap();
    assert!(names_file(&errors, &list), "{errors:?}");
    assert!(errors[0].contains("line 3"), "{errors:?}");
    assert!(errors[0].contains("nonsense"), "{errors:?}");
}

#[test]
fn a_key_may_be_in_a_file_of_its_own_and_directories_are_read_whole() {
    let place = Place::new();
    fs::create_dir(place.path("all")).unwrap();
    let (chain, key) = place.issue(Key::Ec, &["a.example"], false);
    place.write("all/a.pem", &chain);
    place.write("all/a.pem.key", &key);
    place.bundle("all/b.pem", &["b.example"]);
    let context = place.bind("crt all strict-sni").unwrap().context();
    for name in ["a.example", "b.example"] {
        let met = meet(&context, place.client(), name).unwrap();
        assert_eq!(met.names()[0], name);
    }
}

#[test]
fn reloading_is_all_or_nothing() {
    let place = Place::new();
    place.bundle("one.pem", &["old.example"]);
    place.bundle("two.pem", &["two.example"]);
    let loaded = place.bind("crt one.pem crt two.pem strict-sni").unwrap();
    let context = loaded.context();
    place.bundle("one.pem", &["new.example"]);
    let two = fs::read_to_string(place.path("two.pem")).unwrap();
    place.write("two.pem", "broken");
    let errors = loaded.contexts.reload().unwrap_err();
    assert!(errors[0].to_string().contains("two.pem"), "{errors:?}");
    assert!(meet(&context, place.client(), "old.example").is_ok());
    assert!(meet(&context, place.client(), "new.example").is_err());
    place.write("two.pem", &two);
    assert_eq!(loaded.contexts.reload().unwrap(), 2);
    assert!(meet(&context, place.client(), "old.example").is_err());
    assert!(meet(&context, place.client(), "new.example").is_ok());
    assert!(meet(&context, place.client(), "two.example").is_ok());
}

#[test]
fn an_expired_certificate_is_a_warning() {
    let place = Place::new();
    let (chain, key) = place.issue(Key::Ec, &["s.example"], true);
    let file = place.write("old.pem", &(chain + &key));
    let loaded = place.bind("crt old.pem").unwrap();
    let warnings: Vec<String> = loaded
        .contexts
        .warnings()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(names_file(&warnings, &file), "{warnings:?}");
}
