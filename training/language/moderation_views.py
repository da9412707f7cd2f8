"""A text as a rule reads it: one form for all ways to write the same, so that dress-up does not hide a word.

Unicode's compatibility form, look-alike letters of other scripts as Latin ones, traditional characters as simplified,
accents and invisible characters dropped; digits and signs that stand for letters (fr33, c@sh) and stretched words
(beeest) read in further views. What is dressed up so is told by `disguise`, because honest copy has no reason to.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_LOOK_ALIKE: Final = str.maketrans(
    "аеорсухіјѕһԁԛԝьвкмнтгпιουαεκρτνχβηɡɑı‘’“”„–—−‐‑…•",
    'aeopcyxijshdqwbbkmhtrniouaekptvxbhgai\'\'"""-----.·',
)
# Traditional, then simplified, in turns: the characters that advertising and its bans are written with.
_PAIRS: Final = (
    "國国級级頂顶業业絕绝對对際际獨独創创發发現现這这個个們们價价優优減减購购買买賣卖賺赚錢钱萬万億亿療疗藥药癒愈腫肿證证驗验檢检測测認认"
    "質质產产權权僅仅時时間间馬马點点擊击鏈链結结號号碼码電电話话聯联繫系帳账戶户贏赢獎奖賭赌貸贷無无風风險险報报穩稳虧亏損损類类種种醫医"
    "師师專专薦荐親亲愛爱滅灭殺杀媽妈孫孙豬猪廢废滾滚雞鸡總总統统黨党領领導导軍军隊队開开運运轉转財财補补瘋疯搶抢極极緻致聞闻見见說说讓让"
    "還还過过進进選选達达遠远連连適适遊游郵邮費费資资貨货貴贵賠赔贈赠換换簽签約约純纯絲丝綿绵絨绒銀银銅铜鋼钢鐵铁鑽钻綠绿藍蓝紅红黃黄顏颜"
    "褲裤襪袜裡里裏里複复雙双單单備备傳传傷伤內内兩两勝胜區区參参園园圓圆場场壓压壞坏夢梦婦妇學学實实審审寫写寬宽寵宠將将尋寻屬属帶带幫帮"
    "應应態态戰战戲戏擁拥擔担據据擇择數数斷断於于會会東东條条樂乐樣样標标機机歐欧歡欢歲岁歷历氣气決决沒没淨净溫温滿满潔洁濕湿為为爭争獲获"
    "環环當当症症眾众禮礼競竞節节終终組组細细給给經经維维網网緊紧線线縮缩罰罚義义聖圣聲声聽听脫脱臉脸與与舊旧華华葉叶處处虛虚裝装製制觀观"
    "規规視视覺觉訂订計计訊讯記记設设許许評评試试詐诈該该詳详誇夸誤误調调談谈請请論论謝谢識识護护變变豐丰負负責责贊赞趕赶車车軟软輕轻輸输"
    "辦办農农邊边醜丑釋释針针鈔钞錄录錯错鍋锅鏡镜鑒鉴長长門门閉闭關关陽阳陰阴隱隐離离難难雲云靈灵靜静韓韩項项順顺預预頭头題题額额願愿顯显"
    "蕞最囯国"  # written instead of what is banned
    "飛飞飯饭飲饮養养餘余騙骗驚惊體体鮮鲜麗丽麼么齊齐齒齿龍龙"
)
_SIMPLIFIED: Final = str.maketrans(dict(zip(_PAIRS[::2], _PAIRS[1::2], strict=True)))
_SIGNS: Final = str.maketrans("0134578@$!|269€£¢+", "oieastbasiizggelct")
_JOINERS: Final = "\u200d\ufe0f\ufe0e"  # within emoji
HAN: Final = re.compile(r"[\u3400-\u9fff]")
EMOJI: Final = re.compile("[\u2600-\u27bf\u2b50\u2b55\U0001f000-\U0001faff]")
_DRESSED: Final = re.compile(
    r"(?<![^\W_])(?=[a-z0-9@$!|€£¢+]*[a-z])(?=[a-z0-9@$!|€£¢+]*[0-9@$!|€£¢+])[a-z0-9@$!|€£¢+]*[a-z0-9@$|€£¢+]"
)
_STRETCHED: Final = re.compile(r"([a-z])\1{2,}")
_SPACED: Final = re.compile(r"(?<![^\W_])(?:[a-z0-9]([ ._\-*|~+/\\])(?:[a-z0-9]\1){2,}[a-z0-9])(?![^\W_])")
_MASKED: Final = re.compile(r"[a-z][*#]+[a-z]|[\u3400-\u9fff][*#_^][\u3400-\u9fff]")
_BETWEEN_HAN: Final = re.compile(r"(?<=[\u3400-\u9fff])[\s*#._^~|+=\-·/\\@&]+(?=[\u3400-\u9fff])")
# Letters that copy has no use for but to look like others: phonetic, small capitals, Armenian, Cherokee, Lisu, boxed.
_ODD: Final = re.compile(
    "[\u0250-\u02af\u1d00-\u1dbf\u0530-\u058f\u13a0-\u13ff\uab70-\uabbf\ua4d0-\ua4ff\ua720-\ua7ff\U0001f130-\U0001f189]"
    "|[\U0001f1e6-\U0001f1ff]{3,}"
)
_MIXED: Final = re.compile(r"(?=\w*[a-zA-Z])(?=\w*[\u0370-\u052f])\w+")


@dataclass(frozen=True)
class Views:
    """`plain` keeps words and order; `all` has `plain` first, then what else the text can be read as."""

    plain: str
    all: tuple[str, ...]
    disguise: str  # how it was dressed up, "" where it was not


@lru_cache(maxsize=4096)
def views(text: str) -> Views:
    """All ways to read a text."""
    plain = normal(text)
    told = [plain, _BETWEEN_HAN.sub("", plain), _SPACED.sub(_joined, plain)]
    for one in tuple(dict.fromkeys(told)):
        dressed = _DRESSED.sub(lambda found: found[0].translate(_SIGNS), one)
        told += [dressed, _DRESSED.sub(lambda found: found[0].replace("1", "l").translate(_SIGNS), one)]
    for one in tuple(dict.fromkeys(told)):
        if _STRETCHED.search(one):
            told += [_STRETCHED.sub(r"\1", one), _STRETCHED.sub(r"\1\1", one)]
    return Views(plain, tuple(dict.fromkeys(told)), _disguise(text, plain))


@lru_cache(maxsize=4096)
def normal(text: str) -> str:
    """Lower case, one form for each character, single spaces."""
    shown = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) not in ("Cf", "Co", "Cn"))
    lower = shown.lower().translate(_LOOK_ALIKE).translate(_SIMPLIFIED)
    if not lower.isascii():
        bare = (c for c in unicodedata.normalize("NFD", lower) if not unicodedata.combining(c))
        lower = unicodedata.normalize("NFC", "".join(bare))
    return " ".join(lower.split())


def is_chinese(text: str) -> bool:
    """Whether the larger part is written in Chinese characters; a character weighs as two Latin letters."""
    n_han = len(HAN.findall(text))
    return 2 * n_han > sum(c.isalpha() for c in text) - n_han


def _joined(found: re.Match[str]) -> str:
    return found[0].replace(found[1], "")


def _disguise(text: str, plain: str) -> str:
    if any(unicodedata.category(c) in ("Cf", "Co") and c not in _JOINERS for c in text):
        return "invisible characters"
    if _MIXED.search(unicodedata.normalize("NFKC", text)):
        return "letters of several scripts in one word"
    if _ODD.search(text):
        return "letters that look like others"
    if any(0x1D400 <= ord(c) <= 0x1D7FF or 0x24B6 <= ord(c) <= 0x24E9 for c in text):
        return "letters from symbol alphabets"
    if sum(unicodedata.combining(c) > 0 for c in text) > 2 and re.search(r"[\u0300-\u036f]{2,}", text):
        return "stacked accents"
    if found := _SPACED.search(plain):
        return f"a word spelled apart ({len(found[0]) // 2 + 1} letters)"
    if _MASKED.search(plain):
        return "a sign within a word"
    return ""
