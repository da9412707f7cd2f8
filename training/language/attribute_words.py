"""Words that name a colour or a material anywhere, so that a shop's rarer values are known before it tells them."""

from typing import Final


def words_in(text: str) -> frozenset[str]:
    """What stands between spaces."""
    return frozenset(text.split())


COLOURS: Final = words_in(
    "black white red blue green yellow orange purple pink brown grey gray silver gold golden beige navy teal turquoise ivory "
    "cream tan khaki maroon burgundy charcoal coral lavender violet magenta olive mint aqua bronze copper chrome nickel clear "
    "transparent multicolor multicolour natural rose walnut espresso cherry oak chestnut slate indigo lime peach mustard "
    "黑 白 红 蓝 绿 黄 橙 紫 粉 棕 灰 银 金 米 杏 咖 青 驼 卡其 黑色 白色 红色 蓝色 绿色 黄色 橙色 紫色 粉色 粉红色 棕色 灰色 银色 "
    "金色 米色 杏色 咖色 咖啡色 青色 驼色 卡其色 酒红色 藏青色 米白色 浅蓝色 深蓝色 多色"
)
MATERIALS: Final = words_in(
    "cotton polyester wool silk linen leather suede denim nylon fleece velvet canvas rubber plastic wood wooden oak walnut bamboo "
    "steel stainless aluminum aluminium iron brass copper glass ceramic porcelain stoneware silicone acrylic mesh satin "
    "cashmere spandex viscose rayon faux resin marble cork rattan paper cardboard vinyl "
    "棉 纯棉 棉麻 麻 亚麻 羊毛 羊绒 丝绸 真丝 雪纺 蕾丝 牛仔 皮 真皮 牛皮 皮革 涤纶 尼龙 橡胶 塑料 木 实木 竹 不锈钢 铝 铁 铜 "
    "玻璃 陶瓷 硅胶 针织 网纱 粘纤 聚酯纤维 天丝 莫代尔"
)
SIZE: Final = (
    r"(?i:\b\d+(?:[.,]\d+)?\s?(?:cm|mm|ml|kg|oz|lbs?|inch(?:es)?|ft|gb|tb|pcs?|pack|count|persons?|players|bags|l|g|m)\b"
    r"|\b(?:x{1,3}|xx?-)?(?:small|large)\b|\bmedium\b|\b(?:x{0,3}s|x{0,4}l|m)\b|\bsize\s?\d+(?:\.5)?\b|\d+(?:\.\d+)?(?:厘米|毫米|毫升|升|克|千克|片|件套))"
)
