//! Lines that belong to the web page and not to its text: "Share this", "责任编辑：…", "点击查看更多".
//!
//! A line is taken out only where the whole of it is such a phrase, so running text that mentions cookies stays. Before
//! comparing, decoration at either end (arrows, brackets, bullets, closing punctuation) and case are folded away. The
//! lists were gathered from pages: a phrase is in them when it cannot be the only sentence of a line somebody wrote.
//! Cost: one look at a line's length; a line of at most [`LINE_BYTES_MAX`] bytes is folded and looked up.

use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Longer lines are text. Chinese credits with a name or two stay below it.
const LINE_BYTES_MAX: usize = 120;

/// Whole lines, lower case.
const ENGLISH_LINES: [&str; 81] = [
    "about us",
    "accept all cookies",
    "accept cookies",
    "add comment",
    "add to cart",
    "add to wishlist",
    "advertisement",
    "advertisements",
    "all rights reserved",
    "article continues below",
    "back to top",
    "be the first to comment",
    "buy now",
    "click here",
    "click here to read more",
    "click here to subscribe",
    "click to share",
    "click to enlarge",
    "close menu",
    "comments are closed",
    "contact us",
    "continue reading",
    "cookie policy",
    "cookie settings",
    "create account",
    "email this article",
    "follow us",
    "follow us on facebook",
    "follow us on instagram",
    "follow us on twitter",
    "forgot your password",
    "get directions",
    "leave a comment",
    "leave a reply",
    "like us on facebook",
    "load more",
    "loading",
    "log in to reply",
    "manage cookies",
    "more from this author",
    "more stories",
    "my account",
    "new window",
    "next article",
    "next page",
    "next post",
    "no comments yet",
    "open in app",
    "post a comment",
    "post comment",
    "powered by wordpress",
    "previous article",
    "previous page",
    "previous post",
    "print this page",
    "privacy policy",
    "read full article",
    "read more",
    "recent posts",
    "related articles",
    "related posts",
    "report abuse",
    "save my name",
    "see all",
    "see more",
    "share on facebook",
    "share on twitter",
    "share this",
    "share this article",
    "share this post",
    "share this story",
    "share this page",
    "show less",
    "show more",
    "sign in",
    "sign up",
    "sign up for our newsletter",
    "skip to content",
    "skip to main content",
    "subscribe",
    "view all",
];

/// Beginnings of lines after which anything may follow, lower case.
const ENGLISH_STARTS: [&str; 12] = [
    "all rights reserved",
    "by using this site",
    "click to share on",
    "copyright ©",
    "copyright (c)",
    "filed under:",
    "posted in:",
    "share this:",
    "this site uses cookies",
    "this website uses cookies",
    "we use cookies",
    "your email address will not be published",
];

/// Whole lines.
const CHINESE_LINES: [&str; 59] = [
    "版权所有",
    "版权声明",
    "保留所有权利",
    "不再提醒",
    "长按识别二维码",
    "查看更多",
    "查看更多评论",
    "查看全部",
    "查看全文",
    "查看原文",
    "打开微信",
    "打印本页",
    "点击查看",
    "点击查看更多",
    "点击查看全文",
    "点击查看原文",
    "点击阅读原文",
    "点击加载更多",
    "点击上方蓝字关注我们",
    "点击进入专题",
    "点击关注",
    "发表评论",
    "返回顶部",
    "返回首页",
    "返回搜狐",
    "返回搜狐，查看更多",
    "返回列表",
    "返回目录",
    "分享到",
    "分享到微信",
    "分享到微信朋友圈",
    "分享到朋友圈",
    "分享至",
    "分享文章",
    "复制链接",
    "关闭窗口",
    "关注我们",
    "关注公众号",
    "加载更多",
    "加载中",
    "免责声明",
    "热门推荐",
    "热门文章",
    "上一篇",
    "上一页",
    "收起",
    "推荐阅读",
    "网友评论",
    "微信扫一扫",
    "微信扫一扫分享",
    "我要反馈",
    "我要评论",
    "我要纠错",
    "下一篇",
    "下一页",
    "相关阅读",
    "相关推荐",
    "延伸阅读",
    "阅读原文",
];

/// Beginnings of lines after which a name or a title follows.
const CHINESE_STARTS: [&str; 28] = [
    "责任编辑：",
    "责任编辑:",
    "责任编辑/",
    "责任编辑 ",
    "原标题：",
    "原标题:",
    "返回搜狐，查看更多",
    "版权所有 ",
    "版权所有：",
    "版权所有©",
    "上一篇：",
    "上一篇:",
    "下一篇：",
    "下一篇:",
    "微信扫一扫",
    "扫一扫",
    "扫描二维码",
    "长按二维码",
    "点击上方",
    "点击下方",
    "点击查看更多",
    "更多精彩内容请",
    "声明：本文",
    "本文地址：",
    "本文链接：",
    "转载请注明",
    "未经授权不得转载",
    "未经许可不得转载",
];

/// No sentence holds this: whatever stands behind it on the last line is a frame too.
const BACK_TO_PORTAL: &str = "返回搜狐，查看更多";

/// What may stand behind the last sentence of a text.
const CHINESE_ENDS: [&str; 5] = ["责任编辑：", "责任编辑:", "责任编辑/", "原标题：", "点击查看更多"];

/// Credits: the same, but with no more behind them than some names.
const CHINESE_CREDITS: [&str; 7] = ["责编：", "责编:", "编辑：", "编辑:", "校对：", "审核：", "审校："];

/// Bytes of a line of credits: some twenty characters.
const CREDIT_BYTES_MAX: usize = 60;

static LINES: LazyLock<BTreeSet<&str>> =
    LazyLock::new(|| ENGLISH_LINES.iter().chain(&CHINESE_LINES).copied().collect());

/// Whether the line, without white space at its ends, is nothing but a phrase of a page's frame.
pub(crate) fn is_boilerplate(line: &str) -> bool {
    if line.len() > LINE_BYTES_MAX {
        return false;
    }
    let mut folded = [0; LINE_BYTES_MAX];
    let folded = &mut folded[..line.len()];
    folded.copy_from_slice(line.as_bytes());
    folded.make_ascii_lowercase();
    let folded = std::str::from_utf8(folded).expect("only ASCII letters were changed");
    let opened = folded.trim_start_matches(is_decoration);
    if LINES.contains(opened.trim_end_matches(is_decoration)) {
        return true;
    }
    let begins_with = |starts: &[&str]| starts.iter().any(|start| opened.starts_with(start));
    match opened.as_bytes().first() {
        None => false,
        Some(byte) if byte.is_ascii() => begins_with(&ENGLISH_STARTS),
        Some(_) => begins_with(&CHINESE_STARTS) || line.len() <= CREDIT_BYTES_MAX && begins_with(&CHINESE_CREDITS),
    }
}

/// Where a frame begins that runs on behind the last sentence of a text, as where a page lost its line ends:
/// `……完成。返回搜狐，查看更多`.
pub(crate) fn frame_at_end(text: &str) -> Option<usize> {
    let line_start = text.rfind('\n').map_or(0, |end| end + 1);
    if let Some(at) = text[line_start..].rfind(BACK_TO_PORTAL) {
        return Some(line_start + at);
    }
    let near_end = text.ceil_char_boundary(text.len().saturating_sub(LINE_BYTES_MAX)).max(line_start);
    let is_sentence_end = |char: char| matches!(char, '。' | '！' | '？' | '…' | '”' | '）' | ')' | '」');
    let ends = text[near_end..].char_indices().filter(|&(_, char)| is_sentence_end(char));
    let mut starts = ends.map(|(at, char)| near_end + at + char.len_utf8());
    starts.find(|&start| {
        let frame = text[start..].trim_start_matches(|char: char| char.is_whitespace() || matches!(char, '（' | '('));
        let is_name_behind = frame.len() <= CREDIT_BYTES_MAX && !frame.contains('。');
        let begins_with = |starts: &[&str]| starts.iter().any(|start| frame.starts_with(start));
        is_name_behind && (begins_with(&CHINESE_ENDS) || begins_with(&CHINESE_CREDITS))
    })
}

/// What stands around a phrase on a page without changing it.
fn is_decoration(char: char) -> bool {
    matches!(
        char,
        ' ' | '\t'
            | '>'
            | '<'
            | '»'
            | '«'
            | '›'
            | '‹'
            | '→'
            | '←'
            | '▶'
            | '►'
            | '▼'
            | '▲'
            | '•'
            | '·'
            | '*'
            | '|'
            | '['
            | ']'
            | '('
            | ')'
            | '【'
            | '】'
            | '（'
            | '）'
            | '「'
            | '」'
            | '《'
            | '》'
            | '“'
            | '”'
            | '"'
            | '+'
            | '-'
            | '.'
            | '…'
            | '!'
            | '！'
            | '?'
            | '？'
            | '。'
            | ','
            | '，'
            | ':'
            | '：'
            | '~'
            | '～'
            | '↑'
            | '↓'
            | '☰'
            | '×'
    )
}
