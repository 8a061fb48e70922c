//! Pages that exist in many languages, with untranslated ones among them.
//!
//! The manual of Apache and the books of Debian go into web archives, as a crawler would have met them: the manual
//! without a character set in its headers (its Korean pages are in EUC-KR and say so themselves), and with the links
//! that stand for untranslated pages followed, so that hundreds of English pages come eleven times.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::write::{Language, WebArchive};
use super::{Format, Made, copy_files, language_of_page, relative_name};
use crate::contents::{count_visible_bytes, decoded_html};
use crate::packages::{Fetched, files_and_links_below, files_below};

pub(super) fn make(fetched: &Fetched, out: &Path) -> anyhow::Result<Vec<Made>> {
    let mut made = Vec::new();
    for (name, package, folder, language) in [
        ("libreoffice-en", "libreoffice-help-en-us", "en-US", Language::English),
        ("libreoffice-hans", "libreoffice-help-zh-cn", "zh-CN", Language::SimplifiedChinese),
        ("libreoffice-hant", "libreoffice-help-zh-tw", "zh-TW", Language::TraditionalChinese),
    ] {
        let root = fetched.path(package, "usr/share/libreoffice/help").join(folder);
        let pages = files_below(&root)?.into_iter().filter(|path| is_page(path));
        let language = |_: &str, page: &str| language_of_page(language, page);
        let tally = copy_files(&root, pages, &out.join(name), language)?;
        made.push(Made::file(name, name, Format::Html, "MPL-2.0", package, tally)?);
    }
    made.push(apache(fetched, out)?);
    made.push(debian_books(fetched, out)?);
    Ok(made)
}

fn apache(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    let mut archive = WebArchive::create(&out.join("apache-manual.warc.gz"))?;
    let root = fetched.path("apache2-doc", "usr/share/doc/apache2-doc/manual");
    for path in files_and_links_below(&root)?.iter().filter(|path| is_page(path)) {
        let name = relative_name(&root, path)?;
        let declared = if path.is_symlink() { "en" } else { name.split('/').next().unwrap_or_default() };
        write_page(&mut archive, &format!("https://httpd.apache.org/docs/2.4/{name}"), "text/html", declared, path)?;
    }
    let tally = archive.finish()?;
    Made::file("apache-manual", "apache-manual.warc.gz", Format::Warc, "Apache-2.0", "apache2-doc", tally)
}

/// The Administrator's Handbook in every language, the Reference and the two guides to packaging in some.
fn debian_books(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    const BOOKS: [(&str, &str, &str); 7] = [
        ("debian-handbook", "usr/share/doc/debian-handbook/html", "https://debian-handbook.info/browse/"),
        ("debian-reference-en", REFERENCE, REFERENCE_URL),
        ("debian-reference-zh-cn", REFERENCE, REFERENCE_URL),
        ("debian-reference-zh-tw", REFERENCE, REFERENCE_URL),
        ("debmake-doc", "usr/share/doc/debmake-doc/html", "https://www.debian.org/doc/manuals/debmake-doc/"),
        ("maint-guide-zh-cn", "usr/share/doc/maint-guide-zh-cn/html", MAINT_GUIDE_URL),
        ("maint-guide-zh-tw", "usr/share/doc/maint-guide-zh-tw/html", MAINT_GUIDE_URL),
    ];
    const REFERENCE: &str = "usr/share/debian-reference";
    const REFERENCE_URL: &str = "https://www.debian.org/doc/manuals/debian-reference/";
    const MAINT_GUIDE_URL: &str = "https://www.debian.org/doc/manuals/maint-guide/";
    let mut archive = WebArchive::create(&out.join("debian-books.warc.gz"))?;
    for (package, folder, url) in BOOKS {
        let root = fetched.path(package, folder);
        for path in files_below(&root)?.iter().filter(|path| is_page(path)) {
            let name = relative_name(&root, path)?;
            // A folder of the language, or its code in the name of the file.
            let declared = match name.split_once('/') {
                Some((folder, _)) => folder,
                None => name.trim_end_matches(".html").rsplit('.').next().unwrap_or_default(),
            };
            write_page(&mut archive, &format!("{url}{name}"), "text/html; charset=UTF-8", declared, path)?;
        }
    }
    let packages = BOOKS.map(|(package, ..)| package);
    let license = "GPL-2.0-or-later; the handbook also CC-BY-SA-3.0, debmake-doc MIT";
    let tally = archive.finish()?;
    Made::new("debian-books", "debian-books.warc.gz", Format::Warc, license, &packages, tally)
}

fn write_page(
    archive: &mut WebArchive,
    url: &str,
    content_type: &str,
    declared: &str,
    path: &Path,
) -> anyhow::Result<()> {
    let page = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let html = decoded_html(&page).unwrap_or_else(|_| String::from_utf8_lossy(&page).into_owned());
    let language = match declared {
        "en" | "en-US" => Language::English,
        "zh-cn" | "zh-CN" => Language::SimplifiedChinese,
        "zh-tw" | "zh-TW" => Language::TraditionalChinese,
        _ => Language::Other,
    };
    let counted = (language_of_page(language, &html), count_visible_bytes(&html));
    archive.write_page(url, content_type, &page, counted)
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "html")
}
