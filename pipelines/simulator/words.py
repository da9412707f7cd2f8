"""The words that the demo shop's catalogue is made of, in English and Chinese: shelves, and the kinds of thing on each.

Pairs are written "english=中文", lists are separated by "|".
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

Pair = tuple[str, str]  # (English, Chinese)


@dataclass(frozen=True)
class Kind:
    """One kind of thing. The texts are parsed when first used."""

    noun_text: str
    price_cents: int  # of a middling one
    feature_text: str
    material_text: str
    size_text: str
    use_text: str

    @cached_property
    def noun(self) -> Pair:
        return _pairs(self.noun_text)[0]

    @cached_property
    def features(self) -> tuple[Pair, ...]:
        return _pairs(self.feature_text)

    @cached_property
    def materials(self) -> tuple[Pair, ...]:
        return _pairs(self.material_text)

    @cached_property
    def sizes(self) -> tuple[str, ...]:
        return tuple(self.size_text.split("|"))

    @cached_property
    def uses(self) -> tuple[Pair, ...]:
        return _pairs(self.use_text)


@dataclass(frozen=True)
class Category:
    """One leaf of the category tree."""

    path: str
    brands: tuple[str, ...]
    cost_share: float  # unit cost over price
    kinds: tuple[Kind, ...]


def _pairs(text: str) -> tuple[Pair, ...]:
    return tuple((english, chinese) for english, _, chinese in (part.partition("=") for part in text.split("|")))


CATEGORIES: Final = (
    Category("home.lighting", ("Nordlys", "Halm & Co", "Lumiva", "Xinghe"), 0.52, (
        Kind("desk lamp=台灯", 4_900, "dimmable=可调光|foldable=可折叠|touch=触控",
             "oak=橡木|brass=黄铜|matt black steel=哑光黑钢", "30 cm|40 cm|45 cm",
             "Gives a warm, even light for reading.=光线温暖均匀，适合阅读。|"
             "The arm stays where you put it.=灯臂悬停自如。"),
        Kind("floor lamp=落地灯", 11_900, "dimmable=可调光|slender=纤细|arc=弧形",
             "linen=亚麻|walnut=胡桃木|white steel=白钢", "120 cm|150 cm|165 cm",
             "Lights a whole corner without glare.=照亮整个角落而不刺眼。|"
             "Heavy base, safe with children.=底座稳重，有孩子也放心。"),
        Kind("pendant light=吊灯", 8_900, "adjustable=高度可调|hand-blown=手工吹制|woven=编织",
             "smoked glass=烟灰玻璃|rattan=藤编|copper=铜", "25 cm|35 cm|50 cm",
             "Hangs low over a dining table.=适合悬挂在餐桌上方。|Cable of two metres included.=附两米电线。"),
        Kind("night light=小夜灯", 1_900, "rechargeable=可充电|motion-sensing=人体感应|dimmable=可调光",
             "silicone=硅胶|bamboo=竹|ceramic=陶瓷", "8 cm|10 cm|12 cm",
             "Soft enough to sleep beside.=光线柔和，伴您入睡。|"
             "Runs forty hours on one charge.=一次充电可亮四十小时。"),
    )),
    Category("home.kitchen", ("Vesta Home", "Koro", "Brandt & Sohn", "Heqi"), 0.55, (
        Kind("saucepan=奶锅", 4_500, "non-stick=不粘|heavy-based=厚底|induction-ready=电磁炉适用",
             "stainless steel=不锈钢|cast iron=铸铁|copper=铜", "1 l|1.5 l|2 l",
             "Works on gas, ceramic and induction hobs.=适用于燃气灶、电陶炉和电磁炉。|"
             "Pours without dripping.=倒汤不滴漏。"),
        Kind("chef's knife=主厨刀", 7_900, "forged=锻造|well-balanced=重心平衡|hammered=锤纹",
             "Damascus steel=大马士革钢|carbon steel=碳钢|ceramic=陶瓷", "18 cm|20 cm|24 cm",
             "Stays sharp for months.=数月不钝。|"
             "The handle sits well in small and large hands.=手柄大小适中，握感舒适。"),
        Kind("storage jar=储物罐", 1_600, "airtight=密封|stackable=可叠放|dishwasher-safe=可洗碗机清洗",
             "glass=玻璃|stoneware=粗陶|bamboo=竹", "0.5 l|1 l|2 l",
             "Keeps flour, rice and coffee fresh.=面粉、大米、咖啡都能保鲜。|"
             "The lid closes with one hand.=单手即可盖紧。"),
        Kind("teapot=茶壶", 3_400, "hand-made=手工|drip-free=不滴水|heat-resistant=耐热",
             "stoneware=粗陶|glass=玻璃|Yixing clay=紫砂", "0.4 l|0.6 l|1 l",
             "Comes with a fine strainer.=配有细滤网。|Keeps tea warm for an hour.=可保温一小时。"),
    )),
    Category("electronics.audio", ("Auralis", "Tonhaus", "Kite Audio", "Tinglan"), 0.68, (
        Kind("headphones=头戴式耳机", 14_900, "noise-cancelling=降噪|wireless=无线|over-ear=包耳式",
             "graphite=石墨色|sand=沙色|midnight blue=午夜蓝", "2025|Studio|Pro",
             "Thirty hours on one charge.=一次充电可用三十小时。|Pairs with two devices at once.=可同时连接两台设备。"),
        Kind("earbuds=无线耳塞", 7_900, "waterproof=防水|low-latency=低延迟|noise-cancelling=降噪",
             "white=白色|black=黑色|mint=薄荷绿", "Mini|Sport|Pro",
             "Stay in place while you run.=跑步也不会掉。|The case charges them four times.=充电盒可充电四次。"),
        Kind("speaker=音箱", 9_900, "portable=便携|waterproof=防水|wireless=无线",
             "walnut=胡桃木|grey fabric=灰色织物|red=红色", "Mini|One|Max",
             "Fills a room of thirty square metres.=三十平米的房间也能铺满。|"
             "Two of them play in stereo.=两只可组成立体声。"),
        Kind("soundbar=回音壁", 22_900, "slim=纤薄|Dolby Atmos=杜比全景声|wall-mounted=壁挂",
             "black=黑色|silver=银色|white=白色", "80 cm|95 cm|110 cm",
             "Makes every word of a film clear.=电影对白字字清晰。|One cable to the television.=一根线连接电视。"),
    )),
    Category("electronics.phones", ("Meridian", "Volta", "Quanta", "Jiguang"), 0.74, (
        Kind("smartphone=智能手机", 34_900, "dual-SIM=双卡|5G=5G|compact=小巧",
             "black=黑色|silver=银色|forest green=森林绿", "64 GB|128 GB|256 GB",
             "Updates for five years.=五年系统更新。|The battery lasts two days.=电池可用两天。"),
        Kind("phone case=手机壳", 1_900, "shock-proof=防摔|slim=超薄|magnetic=磁吸",
             "clear silicone=透明硅胶|leather=真皮|recycled plastic=再生塑料", "6.1 in|6.4 in|6.7 in",
             "Raised edges protect the camera.=凸边保护镜头。|Does not turn yellow.=久用不发黄。"),
        Kind("power bank=充电宝", 3_900, "fast-charging=快充|pocket-sized=口袋大小|solar=太阳能",
             "black=黑色|coral=珊瑚色|aluminium=铝合金", "5,000 mAh|10,000 mAh|20,000 mAh",
             "Charges a phone three times.=可为手机充电三次。|Allowed in cabin luggage.=可带上飞机。"),
        Kind("charger=充电器", 2_400, "fast=快速|two-port=双口|foldable=折叠插脚",
             "white=白色|black=黑色|blue=蓝色", "20 W|30 W|65 W",
             "Comes with a USB-C cable in the box.=盒内附 USB-C 数据线。|Stays cool under load.=满载也不发烫。"),
    )),
    Category("fashion.shoes", ("Stride", "Passo", "Fjellgang", "Yunbu"), 0.48, (
        Kind("running shoes=跑鞋", 10_900, "lightweight=轻便|cushioned=缓震|wide-fit=宽楦",
             "knit=针织|mesh=网布|recycled yarn=再生纱线", "EU 38|EU 41|EU 44",
             "Comfortable from the first step.=上脚即舒适。|Made for ten kilometres and more.=适合十公里以上长跑。"),
        Kind("sneakers=板鞋", 7_900, "classic=经典|low-cut=低帮|vegan=纯素",
             "canvas=帆布|white leather=白色真皮|suede=麂皮", "EU 37|EU 40|EU 43",
             "Goes with everything.=百搭。|The insole can be washed.=鞋垫可水洗。"),
        Kind("ankle boots=短靴", 12_900, "water-repellent=防泼水|lined=内里加绒|zipped=侧拉链",
             "brown leather=棕色真皮|black suede=黑色麂皮|nubuck=磨砂皮", "EU 38|EU 40|EU 42",
             "The sole grips on wet streets.=鞋底在湿滑路面也很防滑。|Can be resoled.=可更换鞋底。"),
        Kind("sandals=凉鞋", 4_900, "adjustable=可调节|cork-soled=软木底|quick-drying=速干",
             "leather=真皮|webbing=织带|rubber=橡胶", "EU 36|EU 39|EU 42",
             "Soft straps that do not chafe.=绑带柔软不磨脚。|Light enough for any suitcase.=轻便，适合旅行。"),
    )),
    Category("fashion.outerwear", ("Fjellgang", "Harbour 9", "Lindqvist", "Beian"), 0.46, (
        Kind("rain jacket=雨衣", 8_900, "packable=可收纳|breathable=透气|windproof=防风",
             "recycled nylon=再生尼龙|yellow=黄色|navy=藏青色", "S|M|L|XL",
             "Keeps you dry through a whole day of rain.=下一整天雨也不会湿。|"
             "The hood stays up in the wind.=大风天风帽也不易滑落。"),
        Kind("down coat=羽绒服", 19_900, "insulated=保暖|long=长款|ultralight=轻薄",
             "black=黑色|olive=橄榄绿|cream=米白色", "S|M|L|XL",
             "Warm down to minus fifteen degrees.=零下十五度依然保暖。|"
             "Two inner pockets with zips.=两个带拉链的内袋。"),
        Kind("wool coat=羊毛大衣", 22_900, "double-breasted=双排扣|tailored=修身|oversized=廓形",
             "merino=美利奴|camel=驼色|charcoal=炭灰色", "S|M|L|XL",
             "Woven in a mill that is a hundred years old.=百年老厂织造。|Fully lined.=全里衬。"),
        Kind("fleece=抓绒衣", 5_900, "quick-drying=速干|half-zip=半拉链|soft=柔软",
             "recycled polyester=再生涤纶|grey=灰色|moss=苔绿色", "S|M|L|XL",
             "A warm layer for every season.=四季皆宜的保暖层。|Does not pill.=不起球。"),
    )),
    Category("beauty.skincare", ("Dermea", "Petal Lab", "Ondine", "Huajian"), 0.38, (
        Kind("face cream=面霜", 2_900, "fragrance-free=无香|hydrating=补水|rich=滋润",
             "shea=乳木果|ceramide=神经酰胺|oat=燕麦", "30 ml|50 ml|75 ml",
             "For dry and sensitive skin.=适合干性和敏感肌肤。|Absorbs quickly and leaves no film.=吸收快，不油腻。"),
        Kind("serum=精华液", 3_900, "brightening=提亮|smoothing=抚纹|gentle=温和",
             "vitamin C=维生素C|hyaluronic acid=玻尿酸|niacinamide=烟酰胺", "15 ml|30 ml|50 ml",
             "Two drops are enough.=两滴就够。|Use in the evening, under cream.=晚间使用，再涂面霜。"),
        Kind("sunscreen=防晒霜", 1_900, "light=清爽|water-resistant=防水|mineral=物理防晒",
             "green tea=绿茶|aloe=芦荟|zinc=氧化锌", "SPF 30, 50 ml|SPF 50, 50 ml|SPF 50, 100 ml",
             "Leaves no white cast.=不泛白。|Safe for children from three years.=三岁以上儿童可用。"),
        Kind("sheet mask=面膜", 900, "cooling=清凉|soothing=舒缓|plumping=饱满",
             "aloe=芦荟|green tea=绿茶|honey=蜂蜜", "1 pc|5 pcs|10 pcs",
             "Fifteen minutes for a tired face.=十五分钟唤醒疲惫肌肤。|"
             "Made of compostable cellulose.=可降解纤维膜布。"),
    )),
    Category("sports.outdoor", ("Trailnote", "Kestrel", "Basecamp 12", "Shanxing"), 0.54, (
        Kind("tent=帐篷", 17_900, "ultralight=超轻|four-season=四季通用|pop-up=速开",
             "ripstop nylon=防撕裂尼龙|olive=橄榄绿|orange=橙色", "1 person|2 persons|4 persons",
             "Stands in five minutes.=五分钟搭好。|Tested on long weekends in the hills.=经过多次山野周末实测。"),
        Kind("backpack=双肩包", 8_900, "waterproof=防水|ventilated=透气背板|roll-top=卷口",
             "black=黑色|canvas=帆布|recycled nylon=再生尼龙", "18 l|35 l|50 l",
             "The straps do not cut in.=肩带不勒肩。|Has a sleeve for a laptop.=带电脑隔层。"),
        Kind("sleeping bag=睡袋", 9_900, "compact=小巧|three-season=三季|wide=加宽",
             "down=羽绒|synthetic fill=化纤填充|cotton=棉", "190 cm|205 cm|220 cm",
             "Warm down to five degrees.=五度以上保暖。|Packs down to the size of a loaf.=收纳后只有面包大小。"),
        Kind("yoga mat=瑜伽垫", 3_900, "non-slip=防滑|extra-thick=加厚|foldable=可折叠",
             "cork=软木|natural rubber=天然橡胶|jute=黄麻", "4 mm|6 mm|8 mm",
             "Does not smell of plastic.=没有塑料味。|With a strap to carry it.=附背带。"),
    )),
    Category("toys.games", ("Merry Owl", "Spielwerk", "Tiny Atlas", "Tongle"), 0.5, (
        Kind("board game=桌游", 3_400, "cooperative=合作类|award-winning=获奖|quick=快节奏",
             "fantasy=奇幻主题|trains=火车主题|gardens=花园主题", "2-4 players|2-5 players|3-6 players",
             "Learnt in ten minutes.=十分钟学会。|A round takes less than an hour.=一局不到一小时。"),
        Kind("puzzle=拼图", 1_900, "panoramic=全景|round=圆形|glow-in-the-dark=夜光",
             "harbour=港口图案|world map=世界地图|cats=猫咪图案", "500 pcs|1,000 pcs|2,000 pcs",
             "The pieces fit without forcing.=拼片严丝合缝。|With a poster of the picture.=附原图海报。"),
        Kind("building blocks=积木", 2_900, "magnetic=磁力|giant=大颗粒|beginner=入门",
             "beech=榉木|coloured=彩色|pastel=马卡龙色", "50 pcs|100 pcs|200 pcs",
             "No small parts, for ages three and up.=无小零件，三岁以上适用。|Comes with a bag to tidy up.=附收纳袋。"),
        Kind("plush bear=毛绒熊", 2_200, "washable=可水洗|cuddly=柔软|weighted=加重",
             "organic cotton=有机棉|brown=棕色|cream=奶油色", "25 cm|40 cm|60 cm",
             "Safe from the day of birth.=新生儿即可使用。|Survives the washing machine.=可机洗。"),
    )),
    Category("grocery.tea", ("Leaf & Kettle", "Morning Hill", "Tide Tea", "Mingshan"), 0.42, (
        Kind("green tea=绿茶", 1_400, "organic=有机|first-flush=头采|loose-leaf=散装",
             "Longjing=龙井|jasmine=茉莉|sencha=煎茶", "50 g|100 g|250 g",
             "Best at eighty degrees.=八十度水温最佳。|Picked in April.=四月采摘。"),
        Kind("oolong tea=乌龙茶", 1_900, "roasted=炭焙|high-mountain=高山|loose-leaf=散装",
             "Tieguanyin=铁观音|osmanthus=桂花|Dahongpao=大红袍", "50 g|100 g|250 g",
             "Brews well five times over.=可冲泡五次，回味甘甜。|Packed in a tin.=罐装。"),
        Kind("black tea=红茶", 1_100, "strong=浓郁|organic=有机|malty=麦香",
             "Assam=阿萨姆|bergamot=佛手柑|Keemun=祁门", "20 bags|50 bags|100 g",
             "Good with milk.=适合加奶。|Packed fresh in a resealable bag.=自封袋新鲜包装。"),
        Kind("herbal infusion=花草茶", 900, "caffeine-free=无咖啡因|organic=有机|calming=安神",
             "chamomile=洋甘菊|ginger=生姜|mint=薄荷", "15 bags|20 bags|80 g",
             "For the last hour of the day.=适合睡前饮用。|Nothing but herbs.=只有草本，无添加。"),
    )),
)  # fmt: skip
