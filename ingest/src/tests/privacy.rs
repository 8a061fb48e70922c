//! Private data: what is private is replaced by its type, what only looks like it stays.

use proptest::prelude::*;

use crate::privacy::{Privacy, Private, find_private, replace_private};

const ALL: Privacy = Privacy {
    secrets: true,
    emails: true,
    ip_addresses: true,
    chinese_identity_numbers: true,
    ibans: true,
    bank_cards: true,
    phones: true,
    social_security_numbers: true,
};

fn replaced(text: &str) -> String {
    replace_private(text, &ALL).0.unwrap_or_else(|| text.to_owned())
}

#[test]
fn private_data_is_replaced_by_its_type() {
    for (text, expected) in [
        ("write to Jane.Doe+list@mail.example-shop.co.uk.", "write to <EMAIL>."),
        ("邮箱：zhang_san@qq.com，谢谢", "邮箱：<EMAIL>，谢谢"),
        ("举报邮箱ＣＨＵＮ２１９＠ＳＯＨＵ．ＣＯＭ。", "举报邮箱<EMAIL>。"),
        ("call (415) 555-2671 or 1-800-555-0199 today", "call <PHONE> or <PHONE> today"),
        ("Tel: +44 20 7946 0958, fax +1 408 492-1542.", "Tel: <PHONE>, fax <PHONE>."),
        ("手机13851087818微信同号", "手机<PHONE>微信同号"),
        ("联系电话：138-5108-7818 或 010-60374900、(0717)5401220", "联系电话：<PHONE> 或 <PHONE>、<PHONE>"),
        ("热线23737770（陆生动物）", "热线<PHONE>（陆生动物）"),
        ("电话（０７１７）５４０１２２０", "电话<PHONE>"),
        ("PING hell (195.4.7.3): 56 data bytes", "PING hell (<IP_ADDRESS>): 56 data bytes"),
        ("from 2606:4700:4700::1111 port 22", "from <IP_ADDRESS> port 22"),
        ("server address 14.0.0.52", "server address <IP_ADDRESS>"),
        // The standard's own example, and one that ends in X.
        ("身份证号：11010519491231002X，", "身份证号：<ID_NUMBER>，"),
        ("身份证号440524188001010014。", "身份证号<ID_NUMBER>。"),
        ("card 4111 1111 1111 1111 or 5425233430109903", "card 4111 1111 1111 1111 or <BANK_CARD>"),
        ("card 4012 8888 8888 1881, amex 3782-822463-10005", "card <BANK_CARD>, amex <BANK_CARD>"),
        ("卡号6212263602101497238的", "卡号<BANK_CARD>的"),
        ("联系人手机13851087818qq群", "联系人手机<PHONE>qq群"),
        ("IBAN GB82 WEST 1234 5698 7654 32 please", "IBAN <IBAN> please"),
        ("DE89370400440532013000", "<IBAN>"),
        ("SSN 219-09-9998.", "SSN <SSN>."),
        ("key AKIAQYLPMN5HHHFPZAM2 leaked", "key <SECRET> leaked"),
        ("token ghp_16C7e42F292c6912E7710c838347Ae178B4a!", "token <SECRET>!"),
        ("password = \"x9Kq2LmPz7Rt4W\"", "password = \"<SECRET>\""),
        ("api_key: 9f8e7d6c5b4a39281706f5e4d3c2b1a0", "api_key: <SECRET>"),
        ("\"client_secret\": \"aZ3kP0qLm8Xw2Yt7\"", "\"client_secret\": \"<SECRET>\""),
        ("密码：x9Kq2LmPz7Rt4W", "密码：<SECRET>"),
        (
            "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U.",
            "Bearer <SECRET>.",
        ),
    ] {
        assert_eq!(replaced(text), expected, "{text}");
    }
}

#[test]
fn private_key_blocks_go_as_a_whole() {
    let body = "MIIEpAIBAAKCAQEAr3sBvJ5mCw1XJZ0h7xq8T2k9Yb4LwE6uNf1DgH8sKpQ3vRzO\n".repeat(3);
    let key = format!("-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----");
    assert_eq!(replaced(&format!("before\n{key}\nafter")), "before\n<SECRET>\nafter");
    let cut = format!("-----BEGIN PRIVATE KEY-----\n{body}");
    assert_eq!(replaced(&cut), "<SECRET>\n");
    for harmless in [
        "The file begins with -----BEGIN RSA PRIVATE KEY----- and is secret.",
        "-----BEGIN CERTIFICATE-----\nMIIEpAIBAAKCAQEAr3sBvJ5mCw1XJZ0h7xq8T2k9Yb4LwE6uNf1DgH8sKpQ3vRzO\n",
        "-----BEGIN",
    ] {
        assert_eq!(replaced(harmless), harmless);
    }
}

#[test]
fn what_only_looks_private_stays() {
    for text in [
        // Examples and units that standards and systems name like this.
        "mail user@example.com, ssh git@github.com:owner/name, getty@tty1.service, logo@2x.png",
        "https://user@host.internal/x, https://lore.kernel.org/r/20050318002026.GA2693@us.ibm.com",
        "rsync -a user@host.dom:/dest @decorator a@b",
        // Books, dates, times, sizes, prices, versions, sections.
        "ISBN 978-7-115-54608-1, ISBN 0-306-40615-2, ISSN 1476-4687",
        "1949-10-01 12:30:45, 2026-11-22T03:22:11.123456, 20261122032211",
        "Timestamp: 17106715833, total 14511243264, 1700000000000 ms since 1970",
        "version 10.0.19041.1, Chrome/114.0.5735.199, openssl-1.1.1.100, v2.4.52.123, section 4.12.3.1",
        "36.2.1.3. Scan commands; 1.2.3.4; 255.255.255.0; 192.168.1.10; 10.0.0.1; 127.0.0.1; 203.0.113.9; 8.8.8.8",
        "2001:db8::1, fe80::1, std::vector, 12:34:56, 00:17:42:8a:b4:05, a::b",
        "d41d8cd98f00b204e9800998ecf8427e 550e8400-e29b-41d4-a716-446655440000",
        "共计13800000000.50元，总额￥13912345678，编号A13912345678，第13912345678/2号",
        "中华人民共和国刑法第二百六十四条，法释〔2013〕8号，京公网安备11010502030143号",
        "Pi is 3.14159265358979323846, 4111111111111112, 0000000000000000, 4444444444444444",
        "password: required, password=hunter2, api_key = YOUR_API_KEY_1234, secret: ${SECRET_2}, token: user.token2.id",
        "AKIAIOSFODNN7EXAMPLE, ghp_short, eyJhbGciOiJIUzI1NiJ9 alone",
        "身份证号110105194912310021和999999199001011234",
        "call me at 12:30, 100-200-3000, 2010-20112012, +08:00, 1+15551234567",
        "echo +192.168.0.100 > target",
        "取值范围是 -2147483648 到 +2147483647，编号为13851087818ab12",
    ] {
        assert_eq!(replaced(text), text, "{:?}", find_private(text, &ALL));
    }
}

#[test]
fn only_wanted_types_are_replaced_and_each_is_counted() {
    let text = "a.b@mail.org, c.d@mail.org, 手机13851087818, SSN 219-09-9998";
    let (_, counts) = replace_private(text, &ALL);
    assert_eq!(counts[Private::Email as usize], 2);
    assert_eq!(counts[Private::Phone as usize], 1);
    assert_eq!(counts[Private::SocialSecurityNumber as usize], 1);
    assert_eq!(counts.iter().sum::<u32>(), 4);
    let (replaced, counts) = replace_private(text, &Privacy { emails: false, ..ALL });
    assert_eq!(replaced.unwrap(), "a.b@mail.org, c.d@mail.org, 手机<PHONE>, SSN <SSN>");
    assert_eq!(counts.iter().sum::<u32>(), 2);
    for (index, kind) in Private::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, index, "counts are in the order of the list");
    }
}

/// The check character by its definition: the sum of all weighted characters is 1 by 11.
fn is_check_right(number: &str) -> bool {
    let values = number.chars().map(|char| char.to_digit(10).unwrap_or(10));
    values.enumerate().map(|(index, value)| value * (1 << (17 - index)) % 11).sum::<u32>() % 11 == 1
}

proptest! {
    #[test]
    fn identity_numbers_are_those_whose_check_is_right(
        day in 1..29_u32, month in 1..13_u32, year in 1900..2020_u32, serial in 0..1000_u32, check in 0..11_usize,
    ) {
        let number = format!("110105{year}{month:02}{day:02}{serial:03}{}", "0123456789X".as_bytes()[check] as char);
        let spans = find_private(&number, &Privacy { bank_cards: false, ..ALL });
        prop_assert_eq!(spans.len() == 1, is_check_right(&number), "{}", number);
    }

    #[test]
    fn any_text_is_searched_and_placeholders_hold_nothing_private(text in "(\\PC|[0-9@.: -]|＋|０|138|@a.cn|eyJ|-----BEGIN){0,60}") {
        let (once, counts) = replace_private(&text, &ALL);
        prop_assert_eq!(once.is_some(), counts.iter().any(|&count| count > 0));
        for pair in find_private(&text, &ALL).windows(2) {
            prop_assert!(pair[0].range.end <= pair[1].range.start);
        }
    }
}
