"""Where listening starts: words of the aspects that any shop's customers talk of, and words that praise or blame.

Written "english words|中文词语", spaces between words. Each shop's own reviews add to them (training/language/aspects.py).
"""

from typing import Final


def words_in(text: str) -> frozenset[str]:
    """What stands between spaces."""
    return frozenset(text.split())


ASPECTS: Final = {
    "price": "price cost expensive cheap affordable value worth pricey bargain overpriced discount sale|"
    "价格 价钱 便宜 太贵 很贵 偏贵 点贵 性价比 划算 实惠 降价 价位 优惠 值得",
    "size and fit": "size fit sizing small large tight loose length width snug petite runs oversized waist|"
    "尺寸 尺码 大小 偏大 偏小 合身 码数 太大 太小 长度 宽松 号码",
    "quality": "quality broke broken defect defective durable sturdy flimsy scratched missing torn fell poor faulty "
    "shoddy damaged cracked worn thread seam stitching material|"
    "质量 品质 做工 坏了 破了 破损 划痕 瑕疵 耐用 结实 劣质 故障 配件 次品 开裂 掉色 起球 材质 用料 面料",
    "delivery": "delivery deliver late came shipping shipped arrived arrive parcel courier delayed delay waited package carrier "
    "date|物流 快递 到得 发货 送货 到货 晚到 迟了 迟迟 速度 送到 配送 包裹 承诺 等太久",
    "packaging": "packaging packed box wrapped wrapping packing|包装 盒子 箱子 外盒 包得",
    "service": "service support staff seller refund return returned reply warranty exchange response returning|"
    "服务 客服 售后 态度 退款 退货 换货 卖家 店家 前台 服务员 老板 退换",
    "looks": "look colour color style design beautiful pretty ugly picture photo pattern lovely gorgeous cute flattering "
    "appearance|外观 颜色 好看 漂亮 款式 样式 难看 图片 色差 设计 时尚 外形 样子",
    "as described": "described description exactly expected expectation authentic fake genuine original advertised|"
    "描述 一致 正品 假货 不符 相符 真品 想象 山寨",
    "comfort": "comfortable comfort soft itchy scratchy uncomfortable cozy smooth warm|"
    "舒服 舒适 柔软 扎人 保暖 透气 手感",
    "use": "easy works work use function battery screen speed noisy noise heat charge quiet|"
    "好用 使用 功能 系统 电池 屏幕 散热 噪音 运行 反应 性能 开机 死机 用起来",
    "taste and smell": "taste tasty flavor flavour delicious smell scent fresh stale rotten sweet|"
    "味道 好吃 口感 新鲜 很甜 不甜 气味 难吃 异味 香味 烂了 水分 口味 难闻",
}  # fmt: skip

GOOD: Final = (
    "good great love lovely excellent perfect perfectly beautiful happy recommend comfortable nice best wonderful fast quick quickly "
    "amazing soft flattering pleased satisfied fine fair gorgeous pretty cute delicious fresh sturdy durable easy well "
    "thank five favorite fabulous elegant awesome|"
    "好 满意 喜欢 不错 很好 漂亮 推荐 快 赞 舒服 值得 优秀 完美 实惠 便宜 划算 好用 好吃 新鲜 棒 正品 谢谢 五星 好评 方便 一致 合适"
)
BAD: Final = (
    "bad poor poorly terrible awful broke broken late disappointed disappointing waste cheaply ugly return returned returning refund "
    "wrong missing scratched defective worst hate uncomfortable itchy tight unflattering sad unfortunately rude slow "
    "never long stale rotten overpriced flimsy thin odd weird unacceptable fell torn cracked delay delayed|"
    "差 差评 坏 失望 退货 退款 假 假货 烂 难吃 难看 垃圾 破 慢 晚 迟 后悔 不好 不满意 太差 劣质 难用 划痕 不值 骗 脏 吵 少 上当 很差 不新鲜"
)
STOP: Final = words_in(
    "i you he she we they my your his her our their me him them us its and or of to in on at for with from by as if then than "
    "are were been being have has had do does did will would can could should may might am there here what which who when "
    "where how why all some one two more most other out up down over again just only also get got go went make made i'm "
    "ve re ll don im it's this these those because while even bit lot thing item product order ordered buy bought "
    "purchase very really day time still after before into about back"
)
STOP_ZH: Final = words_in(
    "我们 你们 他们 这个 那个 这样 什么 怎么 一个 一下 一点 自己 还是 就是 但是 因为 所以 如果 可以 没有 时候 东西 "
    "已经 现在 感觉 觉得 知道 不是 真的 非常 比较 还有 而且 或者 虽然 这款 购买 商品 买的 的时 时候"
)


def pair(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(English words, Chinese words)."""
    english, _, chinese = text.partition("|")
    return tuple(english.split()), tuple(chinese.split())
