"""What customers write: reviews of what arrived and talks with the service desk, in words that follow what happened."""

import json
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np

from pipelines.simulator.catalogue import item_id
from pipelines.simulator.draws import Floats, Ints, generator
from pipelines.simulator.state import Orders
from pipelines.simulator.world import World

LANGUAGES: Final = ("en", "zh")
_DEFECT_BELOW = -1.6  # quality plus luck
_QUESTION_SHARE = 0.004  # of customers, a night

# "English=中文"; {item} is what a person calls it, {days} how late it came, {order} the order's number. Talks: customer and desk
# take turns, the customer first.
_REVIEWS: Final = {
    "late": (
        "The {item} came {days} days late and nobody told me why.={item}晚到了{days}天，也没人说明原因。",
        "Waited far too long for this {item}: {days} days over the date.=等{item}等太久，比承诺晚了{days}天。",
        "Delivery was {days} days late, I had to buy another {item} in town.=快递迟了{days}天，只好另买了{item}。",
    ),
    "defect": (
        "The {item} broke on the second day.={item}用了两天就坏了。",
        "My {item} arrived scratched and one part is missing.=收到的{item}有划痕，还少了一个配件。",
        "Poor quality, the {item} does not look like the picture.=质量差，{item}和图片不一样。",
    ),
    "meh": (
        "The {item} is all right, nothing special for the price.={item}一般般，这个价格不算特别。",
        "Does the job, but I expected a better {item}.={item}能用，但没有想象中好。",
    ),
    "good": (
        "Very happy with the {item}, exactly as described.={item}很满意，和描述一致。",
        "Lovely {item}, my sister wants one as well.={item}很好看，我妹妹也想买。",
        "Good {item} at a fair price, would buy again.={item}性价比高，会再来买。",
        "The {item} came quickly and was well packed.={item}到得很快，包装也好。",
    ),
}
_CLOSINGS: Final = {
    "late": (
        "I want my money back.=我要退款。",
        "Very disappointed.=非常失望。",
        "The thing itself is fine.=东西本身还行。",
    ),
    "defect": (
        "I am sending it back.=我要退货。",
        "Do not buy.=不推荐购买。",
        "At least the refund was quick.=退款倒是快。",
    ),
    "meh": ("Nothing more to say.=没什么好说的。", "It will do.=凑合用吧。"),
    "good": ("Recommended.=推荐。", "Five stars!=五星好评！", "Thank you.=谢谢。"),
}
_TALKS: Final = {
    "late": (
        (
            "Where is my order? The {item} was due {days} days ago.=我的订单在哪？{item}{days}天前就该到了。",
            "I am sorry. Your parcel is out for delivery, here is a voucher.=非常抱歉，包裹正在派送，送您一张优惠券。",
            "This is unacceptable, I want to cancel.=太过分了，我要取消订单。",
        ),
        (
            "The tracking of my {item} has not moved for {days} days.={item}的物流{days}天没动了。",
            "I have asked the carrier and will write to you today.=我已联系快递公司，今天给您回复。",
            "Thank you, please hurry.=谢谢，请尽快。",
        ),
        (
            "Has order {order} been shipped? The {item} should have come {days} days ago.=订单{order}发货了吗？{item}{days}天前就该到了。",
            "It is held up at the depot, I am afraid.=抱歉，包裹在中转站滞留了。",
            "THIS IS THE THIRD TIME!!! Nobody ever answers me!=这是第三次了！！！从来没人理我！",
            "I understand, a colleague will call you.=理解您的心情，同事会给您打电话。",
            "I want to speak to a manager, this is ridiculous.=叫你们经理来，太过分了。",
        ),
    ),
    "defect": (
        (
            "The {item} is broken. How do I return it?={item}坏了，怎么退货？",
            "I am sorry. The return label is in your mailbox.=抱歉，退货单已发到您的邮箱。",
            "OK, that was quick.=好的，挺快的。",
        ),
        (
            "A part of the {item} is missing in the box!={item}盒子里少了配件！",
            "We send the missing part today, free of charge.=我们今天免费补发配件。",
            "I would rather have my money back.=我还是想退款。",
        ),
        (
            "Hello=你好",
            "Good morning, how can I help?=您好，请问有什么可以帮您？",
            "The {item} of order {order} stopped working after two days.=订单{order}的{item}用了两天就坏了。",
            "I am sorry, we send you a new one today.=非常抱歉，我们今天给您补发新的。",
            "Great, thank you very much!=太好了，非常感谢！",
        ),
        (
            "Your {item} is rubbish, it fell apart. I want to make a complaint!=你们的{item}是垃圾，散架了，我要投诉！",
            "I am sorry to hear that. Which order is it?=非常抱歉，请问是哪个订单？",
            "{order}. I will never buy here again.={order}，再也不来买了。",
        ),
    ),
    "question": (
        (
            "Is the {item} in stock, and how long does delivery take?={item}有货吗？多久能到？",
            "Yes, it is in stock and arrives within two days.=有货，两天内送达。",
            "Great, thanks!=好的，谢谢！",
        ),
        (
            "Does the {item} come in another colour?={item}有别的颜色吗？",
            "Only the colours shown on the page, I am afraid.=抱歉，只有页面上的颜色。",
            "A pity, thank you anyway.=可惜了，还是谢谢。",
        ),
        (
            "My discount code for the {item} is not accepted.=买{item}的优惠码用不了。",
            "It goes into the field at the checkout, one code per order.=请在结算页输入，每单限用一张。",
            "It works now, thanks.=可以了，谢谢。",
        ),
        (
            "How much does the {item} cost, and which payment methods do you accept?={item}多少钱？支持哪些支付方式？",
            "The price is on the page; card, PayPal or invoice.=价格见页面，支持银行卡和账单。",
            "Perfect, that is all.=好的，没问题了。",
        ),
        (
            "Can you recommend a good film for tonight?=今晚有什么好看的电影推荐吗？",
            "I am afraid I only know about our shop.=抱歉，我只了解本店的商品。",
            "Never mind.=那算了。",
        ),
        (
            "I gave the wrong address for order {order}, can you change it?=订单{order}的地址写错了，能改吗？",
            "Done, it goes to the new one.=已改好，会寄到新地址。",
            "Thanks a lot!=多谢！",
        ),
    ),
}


@dataclass(frozen=True)
class Voices:
    """One night's feed lines and the complaints that also stand in the clickstream."""

    reviews: list[bytes]
    messages: list[bytes]
    complaint_user: Ints
    complaint_s: Floats  # local second


def speak(world: World, night: int, arrived: Orders, wished: Ints) -> Voices:
    """Words about what arrived tonight, and questions about `wished` items, [customer]."""
    rng = generator(world.seed, "voices", night)
    n = len(arrived.user)
    felt = world.catalogue.quality[arrived.item] + 0.7 * rng.standard_normal(n)
    defect = felt < _DEFECT_BELOW
    late = arrived.days_late > 0
    stars = 4.1 + 0.7 * felt - 0.5 * arrived.days_late - 1.2 * defect - 0.4 * late
    rating = np.clip(np.round(stars), 1, 5).astype(np.int64)
    causes = np.where(defect, "defect", np.where(late & (rating <= 3), "late", np.where(rating <= 3, "meh", "good")))
    writes = rng.random(n) < np.where(rating <= 2, 0.45, 0.25)
    asks = (late | defect) & (rng.random(n) < 0.3)
    complains = asks & (rating <= 2) & (rng.random(n) < 0.5)
    second = rng.uniform(9 * 3600, 22 * 3600, n)
    shy = rng.random(world.customers.size) >= _QUESTION_SHARE
    curious = np.flatnonzero(~shy)
    hour = rng.uniform(9 * 3600, 22 * 3600, len(curious))

    def line(prefix: str, number: int, **values: object) -> bytes:
        row = {f"{prefix}_id": f"{prefix[0]}{_day(night)}{number:06d}", **values}
        return json.dumps(row, ensure_ascii=False).encode()

    def pick(options: tuple[str, ...], tongue: int) -> str:
        return options[int(rng.integers(len(options)))].split("=")[tongue]

    reviews: list[bytes] = []
    talks: list[tuple[str, int, int, int, float]] = []  # cause, user, item, days, local second
    for row in range(n):
        user, item, days = int(arrived.user[row]), int(arrived.item[row]), int(arrived.days_late[row])
        cause = str(causes[row])
        if writes[row]:
            tongue = int(world.customers.is_chinese[user])
            words = [pick(_REVIEWS[cause], tongue), pick(_CLOSINGS[cause], tongue)]
            text = ("" if tongue else " ").join(words).format(item=world.catalogue.name(item, tongue), days=days)
            reviews.append(
                line(
                    "review",
                    len(reviews),
                    user_id=world.customers.ids[user],
                    item_id=item_id(item),
                    rating=int(rating[row]),
                    text=text,
                    language=LANGUAGES[tongue],
                    occurred_at=iso(world, night, second[row]),
                )
            )
        if asks[row]:
            talks.append(("defect" if defect[row] else "late", user, item, days, float(second[row])))
    for user, at in zip(curious.tolist(), hour.tolist(), strict=True):
        talks.append(("question", user, int(wished[user]), 0, at))

    messages: list[bytes] = []
    for number, (cause, user, item, days, at) in enumerate(talks):
        tongue = int(world.customers.is_chinese[user])
        script = _TALKS[cause][int(rng.integers(len(_TALKS[cause])))]
        order = f"NM-{_day(night)}{number:04d}"
        said = script if rng.random() < 0.6 else script[:2]  # some never write again
        at_turn = at
        for turn, part in enumerate(said):
            messages.append(
                line(
                    "message",
                    len(messages),
                    conversation_id=f"t{_day(night)}{number:05d}",
                    user_id=world.customers.ids[user],
                    sender="agent" if turn % 2 else "customer",
                    text=part.split("=")[tongue].format(
                        item=world.catalogue.name(item, tongue), days=days, order=order
                    ),
                    language=LANGUAGES[tongue],
                    occurred_at=iso(world, night, at_turn),
                )
            )
            at_turn += rng.uniform(60, 900)
    return Voices(reviews, messages, arrived.user[complains], second[complains] + 1800.0)


def iso(world: World, night: int, local_s: float) -> str:
    """A local second of the night as ISO 8601 in UTC with milliseconds."""
    return f"{np.datetime64(int(world.utc_ms(night, np.array([local_s]))[0]), 'ms')}Z"


def _day(night: int) -> str:
    return f"{date.fromordinal(night):%y%m%d}"
