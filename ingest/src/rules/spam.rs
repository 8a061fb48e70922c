//! Words of pages that sell gambling, sex, search ranks and forged papers, in simplified and traditional Chinese.
//!
//! A word has a weight from 1 (also met in news and law) to 5 (met nowhere else). The measure is the sum of weights for
//! each thousand characters, so that one report on a raid of a casino, a criminal code or a medical article stays far
//! below a page that repeats such words in every line; a text shorter than [`REFERENCE_CHARS`] is reckoned as that long,
//! so that one word does not condemn a caption. Words are matched without regard to what stands around them, so none
//! is on the list that is part of ordinary words (中出 is in 中出现, 性 nearly everywhere). Nor are the names of the crimes
//! (赌博, 卖淫, 淫秽): with a weight of 1 they dropped two of 950 news articles, which reported arrests and a trial.
//!
//! The lists are short on purpose: they find pages that live by these words, a classifier finds the rest. The recipes of
//! CT-LLM, MAP-NEO and FineWeb-zhtw have such lists too; theirs are not published with weights.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// Shorter texts are reckoned as having as many characters.
const REFERENCE_CHARS: usize = 500;

/// Weights of words found for each thousand characters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SpamMeasures {
    /// Gambling sites.
    pub gambling: f64,
    /// Adult sites.
    pub adult: f64,
    /// Search ranks, forged papers, pirated games.
    pub promotion: f64,
}

const GAMBLING: [(u8, &str); 4] = [
    (
        5,
        "真人荷官 百家乐 百家樂 时时彩 時時彩 北京赛车pk10 北京賽車pk10 分分彩 幸运飞艇 幸運飛艇 极速赛车 極速賽車 现金网 現金網 \
        体育投注 體育投注 送彩金 彩金38 网上赌场 網上賭場 线上赌场 線上賭場 线上娱乐城 線上娛樂城 菠菜网 博彩公司 博彩网站 博彩平台",
    ),
    (
        4,
        "六合彩 开奖结果 開獎結果 老虎机 老虎機 娱乐城 娛樂城 葡京 威尼斯人 太阳城 太陽城 金沙娱乐 金沙娛樂 注册送 註冊送 返水 首存 \
        特码 特碼 大乐透 大樂透 快三 棋牌游戏 棋牌遊戲 捕鱼游戏 捕魚遊戲 电子游艺 電子遊藝 必中 稳赚 穩賺",
    ),
    (3, "博彩 投注 彩金 赌球 賭球 牛牛 德州扑克 德州撲克 斗地主 鬥地主 轮盘 輪盤 玩家下注"),
    (1, "赌场 賭場 赌博网 賭博網 彩票 双色球 雙色球 下注 赔率 賠率 开户 開戶 提现 提現"),
];

const ADULT: [(u8, &str); 3] = [
    (
        5,
        "一本道 无码av 無碼av 有码av 成人视频 成人視頻 成人影片 成人电影 成人電影 成人网站 成人網站 成人论坛 成人論壇 激情视频 激情視頻 \
        黄色视频 黃色視頻 黄色网站 黃色網站 裸聊 楼凤 樓鳳 三级片 三級片 av女优 av女優 巨乳 乱伦小说 亂倫小說 情色小说 情色小說 援交妹 \
        包夜 外围女 外圍女 上门服务小姐 偷拍自拍 亚洲无码 亞洲無碼 国产自拍 國產自拍 欧美色图 歐美色圖 制服丝袜",
    ),
    (
        3,
        "约炮 約炮 援交 一夜情 性爱 性愛 淫荡 淫蕩 骚逼 騷逼 口爆 颜射 顏射 肉棒 小穴 阴唇 陰唇 高潮迭起 激情小说 激情小說 口交 肛交 \
        做爱 做愛",
    ),
    (2, "情趣用品 丝袜美女 絲襪美女 裸体 裸體 自慰 春药 春藥"),
];

const PROMOTION: [(u8, &str); 4] = [
    (
        5,
        "代开发票 代開發票 发票代开 發票代開 办理假证 辦理假證 刻章办证 刻章辦證 代办文凭 代辦文憑 文凭办理 文憑辦理 传奇私服 傳奇私服 \
        关键词排名 關鍵詞排名 网站优化排名 百度快照排名 快速排名 站群系统 黑帽seo 兼职日结 刷单兼职 信用卡套现",
    ),
    (
        4,
        "友情链接 友情鏈接 友情連結 seo优化 seo優化 网站优化 網站優化 搜索引擎优化 搜尋引擎優化 外链 私服 外挂 外掛 破解版下载 破解版下載 \
        全文免费阅读 全文免費閱讀 最新章节列表 最新章節列表 txt下载 txt下載 免费观看 免費觀看 在线观看 線上觀看 高清完整版",
    ),
    (
        2,
        "加微信 加qq 微信号 微信號 点击进入 點擊進入 免费下载 免費下載 最新网址 最新網址 立即咨询 立即諮詢 欢迎来电 歡迎來電 厂家直销 \
        廠家直銷 批发价格 包邮 秒杀",
    ),
    (1, "上一篇 下一篇 上一页 下一页 相关推荐 相關推薦 热门推荐 熱門推薦 版权所有 版權所有"),
];

/// What the searcher calls each list.
const N_KINDS: usize = 3;

struct Search {
    searcher: AhoCorasick,
    /// By pattern: which list, and its weight.
    weights: Vec<(usize, u8)>,
}

static SEARCH: LazyLock<Search> = LazyLock::new(|| {
    let (mut words, mut weights) = (Vec::new(), Vec::new());
    let lists: [&[(u8, &str)]; N_KINDS] = [&GAMBLING, &ADULT, &PROMOTION];
    for (kind, list) in lists.into_iter().enumerate() {
        for &(weight, list) in list {
            for word in list.split_whitespace() {
                words.push(word);
                weights.push((kind, weight));
            }
        }
    }
    let searcher = AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::DFA))
        .build(words)
        .expect("a few hundred words fit into a searcher");
    Search { searcher, weights }
});

/// Measures a text of `n_chars` characters.
pub(super) fn measure_spam(text: &str, n_chars: usize) -> SpamMeasures {
    let Search { searcher, weights } = &*SEARCH;
    let mut sums = [0_usize; N_KINDS];
    for found in searcher.find_iter(text) {
        let (kind, weight) = weights[found.pattern().as_usize()];
        sums[kind] += usize::from(weight);
    }
    let [gambling, adult, promotion] = sums.map(|sum| 1000.0 * sum as f64 / n_chars.max(REFERENCE_CHARS) as f64);
    SpamMeasures { gambling, adult, promotion }
}
