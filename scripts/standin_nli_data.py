"""Rule-made premise/hypothesis pairs that train the stand-in NLI head: word lists, templates, a seeded generator.

Every pair follows from a rule, so its label is known: a family of sentences (events, quantities, properties,
advice, arithmetic, ...) and a change whose effect on the meaning is known (drop a detail, negate, swap the number).
The four-line groups of ``standin_nli_seeds.txt`` add natural English that no grammar would make.
Nothing here comes from ``tests/data/nli_handwritten.jsonl`` or ``tests/golden/nli_probes.jsonl``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

Pair = tuple[str, str, str]
E, N, C = "entailment", "neutral", "contradiction"


def _words(text: str) -> list[str]:
    return text.split()


NAMES = _words("""Adele Boris Carla Dmitri Elena Felix Greta Hassan Ingrid Jorge Keiko Lionel Miriam Nikhil Olga Pedro
Quinn Rosa Samir Tilda Umar Vera Walter Ximena Yusuf Zoe Amara Bruno Celine Darius Esther Farid
Gloria Hugo""")
CITIES = _words("""Oslo Prague Cairo Lima Dublin Mumbai Toronto Seoul Athens Nairobi Boston Hamburg Kyoto Geneva Warsaw
Seville Glasgow Manila Bogota Tunis""")
PEOPLE = _words("""baker farmer nurse lawyer sailor carpenter tourist plumber painter pilot gardener waiter student
mechanic librarian tailor journalist photographer soldier scientist firefighter driver widow prince
hunter monk""")
PLURALS = ["workers", "pupils", "volunteers", "villagers", "climbers", "researchers", "clerks", "visitors"]

# hypernym: members
KINDS = {
    "vehicle": "van truck tractor motorcycle bus scooter jeep",
    "fruit": "pear peach mango plum banana melon",
    "vegetable": "cabbage turnip pumpkin leek spinach potato",
    "tool": "hammer saw drill shovel wrench axe",
    "bird": "sparrow owl goose pigeon eagle swan",
    "instrument": "guitar trumpet flute harp drum accordion",
    "piece of furniture": "chair sofa desk bookcase stool wardrobe",
    "piece of clothing": "scarf jacket skirt sweater shirt glove",
    "animal": "horse goat rabbit fox camel squirrel",
    "document": "contract report letter invoice map diary",
    "building": "barn chapel warehouse tower cottage factory",
    "device": "camera printer phone computer clock projector",
    "flower": "tulip daisy lily orchid violet poppy",
    "insect": "beetle wasp ant moth butterfly cricket",
}
# base past participle ing synonym-past opposite-past | kinds of object
VERBS = """repair repaired repaired repairing fixed wrecked | vehicle device tool
buy bought bought buying purchased sold | vehicle device instrument fruit tool document
sell sold sold selling offloaded bought | vehicle instrument building fruit
paint painted painted painting decorated stripped | building vehicle
find found found finding discovered lost | document tool device animal
lose lost lost losing misplaced found | document tool device
hide hid hidden hiding concealed revealed | document tool fruit
build built built building constructed demolished | building
destroy destroyed destroyed destroying demolished built | building document device
photograph photographed photographed photographing pictured - | animal bird flower building insect
eat ate eaten eating devoured - | fruit vegetable
peel peeled peeled peeling skinned - | fruit
feed fed fed feeding nourished starved | animal bird
watch watched watched watching observed ignored | bird animal insect
catch caught caught catching trapped released | animal bird insect
draw drew drawn drawing sketched erased | flower animal building
steal stole stolen stealing took returned | vehicle device document instrument
borrow borrowed borrowed borrowing - lent | tool instrument vehicle
break broke broken breaking smashed mended | device instrument tool
clean cleaned cleaned cleaning scrubbed dirtied | device vehicle building
open opened opened opening unlocked closed | building
move moved moved moving shifted - | vehicle device instrument
carry carried carried carrying hauled dropped | tool fruit instrument
pick picked picked picking gathered - | flower fruit
sign signed signed signing - - | document
read read read reading studied - | document
wear wore worn wearing - - | piece_of_clothing
wash washed washed washing cleaned dirtied | piece_of_clothing vegetable vehicle
assemble assembled assembled assembling - dismantled | piece_of_furniture device
play played played playing - - | instrument
cook cooked cooked cooking boiled - | vegetable
grow grew grown growing raised - | flower vegetable
accept accepted accepted accepting took refused | document
throw threw thrown throwing tossed caught | fruit tool
"""
SOCIAL = """visit visited visited visiting | help helped helped helping | follow followed followed following
| blame blamed blamed blaming | invite invited invited inviting | call called called calling
| teach taught taught teaching | thank thanked thanked thanking | trick tricked tricked tricking
| rescue rescued rescued rescuing | hire hired hired hiring | insult insulted insulted insulting"""
PLACES = ["in the kitchen", "at the market", "near the river", "behind the church", "in the attic", "on the beach",
          "in the basement", "at the station", "under the bridge", "in the park", "at the office"]  # fmt: skip
TIMES = ["on Tuesday", "last winter", "before lunch", "at midnight", "in March", "on Saturday", "two days ago",
         "after dinner", "in the evening", "at dawn", "in 1995"]  # fmt: skip
MANNERS = ["slowly", "with great care", "without help", "in a hurry", "quietly", "happily"]
REASONS = ["to please a friend", "because the boss had asked for it", "for a birthday party", "to win a bet",
           "with money from an uncle", "after reading about it online", "for the whole family"]  # fmt: skip
# adjective synonym opposite | nouns
ADJECTIVES = """hot warm cold | tea,water,oven,sand,room
big large small | house,table,town,ship,kitchen
clean spotless dirty | floor,shirt,window,towel,car
loud noisy quiet | street,engine,crowd,fan,neighbour
rich wealthy poor | merchant,family,country,widow
strong powerful weak | wind,team,argument,rope,coffee
easy simple difficult | exam,puzzle,task,language,recipe
cheap inexpensive expensive | ticket,hotel,meal,phone,repair
happy cheerful sad | child,ending,song,bride,clown
fast quick slow | car,runner,computer,service,horse
old ancient modern | castle,machine,temple,method
wet soaked dry | grass,towel,coat,ground,wood
bright shiny dark | room,star,colour,hallway
safe secure dangerous | road,investment,beach,neighbourhood
full packed empty | bus,stadium,fridge,jar,cinema
brave courageous cowardly | soldier,knight,captain
smart clever stupid | pupil,idea,answer,dog
true correct false | statement,rumour,story,claim
thick dense thin | fog,book,wall,soup
polite courteous rude | waiter,guest,clerk,letter
healthy fit sick | baby,horse,plant,patient
smooth even rough | surface,road,skin,stone
sweet sugary bitter | drink,medicine,orange,chocolate
calm peaceful stormy | sea,night,weather
fresh new stale | bread,air,cake
deep profound shallow | lake,river,wound
honest sincere dishonest | politician,answer,merchant
tall high short | fence,building,tree
awake alert asleep | baby,guard,dog
useful helpful useless | tool,advice,map,course
popular famous unknown | singer,song,author,game
legal lawful illegal | contract,protest,trade
sharp keen blunt | knife,pencil,blade
generous kind selfish | king,aunt,donor
lucky fortunate unlucky | winner,gambler,number
common widespread rare | illness,bird,mistake,word
important crucial trivial | detail,decision,meeting
harmless innocent harmful | insect,chemical,joke
careful cautious careless | driver,editor,climber"""
COMPARE = """taller shorter | stronger weaker | heavier lighter | faster slower | richer poorer | cheaper costlier
| younger older | larger smaller | louder quieter | happier sadder | warmer colder | busier calmer"""
UP = ["rose", "increased", "climbed", "grew", "went_up", "jumped"]
DOWN = ["fell", "decreased", "declined", "shrank", "went_down", "dropped"]
SERIES = ["unemployment", "the price of oil", "the population of the town", "rent in the centre", "the birth rate",
          "demand for electricity", "the number of tourists", "the water level", "our revenue", "crime",
          "the temperature", "interest in chess"]  # fmt: skip
ADVICE = """read the manual/reading the manual/the manual should be read
stretch before a run/stretching before a run/stretching before a run is wise
ask your doctor about the dose/asking your doctor about the dose/your doctor should be asked about the dose
write down your goals/writing down your goals/putting your goals on paper is useful
lock the door at night/locking the door at night/the door should be locked at night
eat breakfast/eating breakfast/breakfast is a meal worth having
share your password/sharing your password/it is fine to give others your password
test the code early/testing the code early/early testing of the code is wise
check the brakes/checking the brakes/the brakes should be inspected
buy the cheapest model/buying the cheapest model/the cheapest model is the one to get
pay the bill on time/paying the bill on time/the bill should be paid when due
use a ladder/using a ladder/a ladder is the right thing to use
wash your hands/washing your hands/your hands should be washed
wear sunscreen/wearing sunscreen/sunscreen is worth putting on
cover the pot/covering the pot/the pot should be covered
talk to your manager/talking to your manager/a talk with your manager is a good step
practise every day/practising every day/daily practice is useful
set a budget/setting a budget/having a budget is wise
trust strangers online/trusting strangers online/strangers online can be trusted
take the stairs/taking the stairs/the stairs are the better choice
turn off the lights/turning off the lights/the lights should be switched off
plant the seeds in spring/planting the seeds in spring/spring is the time to plant the seeds
mix bleach with vinegar/mixing bleach with vinegar/bleach and vinegar should be combined
book the tickets early/booking the tickets early/the tickets should be booked ahead of time""".splitlines()
DO = ["You should {0}.", "Make sure to {0}.", "It is best to {0}.", "I recommend {1}.", "Remember to {0}.",
      "{1} is a good idea.", "It helps to {0}.", "Always {0}.", "Consider {1}."]  # fmt: skip
DONT = ["You should not {0}.", "Avoid {1}.", "Never {0}.", "{1} is a bad idea.", "Do not {0}.", "Don't {0}.",
        "I would advise against {1}.", "There is no reason to {0}.", "It is a mistake to {0}."]  # fmt: skip
LIKES = [
    "{A} loves {x}.",
    "{A} enjoys {x}.",
    "{A} really likes {x}.",
    "{A} is fond of {x}.",
    "{A} adores {x}.",
]
HATES = [
    "{A} hates {x}.",
    "{A} can't stand {x}.",
    "{A} does not like {x}.",
    "{A} dislikes {x}.",
    "{A} detests {x}.",
]
PRO = ["I think {x} is wonderful.", "In my view, {x} is great.", "I love {x}.", "To me {x} is a delight."]
CON = [
    "I think {x} is awful.",
    "In my view, {x} is terrible.",
    "I hate {x}.",
    "To me {x} is a waste of time.",
]
TOPICS = ["opera", "camping", "spicy food", "modern art", "winter", "small talk", "long flights",
          "gardening", "social media", "poetry", "football", "the new album", "city life", "meditation",
          "horror fiction"]  # fmt: skip
UNITS = _words("""zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen""")
TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
COUNTED = """tourists/in the square birds/on the roof students/in the library boats/in the harbour cars/in the garage
coins/in the purse books/on the shelf planets/in the system letters/in the box trees/in the orchard cows/in the field
rooms/in the hotel bridges/in the city players/on the team islands/in the lake chapters/in the novel""".replace(
    "\n", " "
)
FACTS = """metals conduct electricity/are shiny
reptiles are cold-blooded/live in deserts
planets orbit a star/have moons
cars need fuel or power/are painted red
rivers carry fresh water/freeze in winter
plants need water/bear fruit
doctors study for years/work at night
crystals have an ordered structure/are worth a lot
spiders have eight legs/live in houses
stars produce light/are older than the Sun
computers process data/are connected to the internet
insects have six legs/can fly
fish live in water/are eaten by people
novels tell a story/are based on real life""".splitlines()
SPECIES = {
    "metals": "copper wire/silver coins/iron nails", "reptiles": "lizards/crocodiles/turtles",
    "cars": "taxis/sports cars", "plants": "oaks/roses/ferns", "doctors": "surgeons/heart specialists",
    "insects": "ants/wasps/beetles", "fish": "salmon/sharks/trout", "computers": "laptops/servers",
}  # fmt: skip
PREFIXES = [
    "In fact, ",
    "Honestly, ",
    "As it happens, ",
    "Of course, ",
    "Overall, ",
    "In short, ",
    "So ",
    "Well, ",
]


AUXILIARIES = frozenset(_words("is are was were can will should could has have had"))
UNCLEAR = frozenset(
    _words("""not no never nobody nothing nowhere none neither only some many most few all every each both hardly
if any cannot rather""")
)


def spell(number: int) -> str:
    """Write a whole number below 100 in words, others in digits."""
    if number < 20:
        return UNITS[number]
    if number < 100:
        return TENS[number // 10] + (f"-{UNITS[number % 10]}" if number % 10 else "")
    return f"{number:,}" if number >= 10_000 else str(number)


def sentence(text: str) -> str:
    """Give ``text`` a capital and a full stop."""
    text = " ".join(text.split())
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def article(noun: str) -> str:
    """Put the indefinite article before ``noun``."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun


@dataclass(frozen=True)
class Event:
    """One clause about somebody who did something: enough structure to change one thing at a time."""

    subject: str
    plural: bool
    base: str
    past: str
    participle: str
    ing: str
    synonym: str
    opposite: str
    kind: str
    thing: str
    adjective: str = ""
    count: int = 0
    place: str = ""
    time: str = ""
    manner: str = ""

    def thing_text(self) -> str:
        """The object as a noun phrase."""
        if self.count:
            return f"{spell(self.count)} {self.adjective} {self.thing}s"
        return f"the {self.adjective} {self.thing}" if not self.thing.startswith("piece") else f"a {self.thing}"

    def say(self, form: str = "past", front: bool = False) -> str:
        """Put the clause into words.

        Args:
            form: past, synonym, opposite, passive, never, did not, didn't, failed, refused, managed, might, will,
                wants, progressive, not progressive, not passive, n't passive.
            front: Whether the time comes first.
        """
        be, was = ("are", "were") if self.plural else ("is", "was")
        verb = {
            "past": self.past,
            "synonym": self.synonym if self.synonym != "-" else self.past,
            "opposite": self.opposite,
            "never": f"never {self.past}",
            "did not": f"did not {self.base}",
            "didn't": f"didn't {self.base}",
            "failed": f"failed to {self.base}",
            "managed": f"managed to {self.base}",
            "might": f"might {self.base}",
            "will": f"will {self.base}",
            "wants": f"want{'' if self.plural else 's'} to {self.base}",
            "progressive": f"{be} {self.ing}",
            "not progressive": f"{be} not {self.ing}",
            "refused": f"refused to {self.base}",
            "was progressive": f"{was} {self.ing}",
        }
        tail = f"{self.place} {'' if front else self.time}"
        if form.endswith("passive"):
            was_thing = ("were" if self.count else "was") + {"not": " not", "n't": "n't"}.get(form.split()[0], "")
            text = f"{self.thing_text()} {was_thing} {self.participle} by {self.subject} {tail}"
        else:
            text = f"{self.subject} {verb[form]} {self.thing_text()} {self.manner} {tail}"
        return sentence(f"{self.time}, {text}" if front and self.time else text)


def new_event(rng: random.Random) -> Event:
    """Draw an event with a random amount of detail."""
    forms, kinds = rng.choice(VERBS.strip().splitlines()).split(" | ")
    kind = rng.choice(kinds.split()).replace("_", " ")
    draw = rng.random()
    plural = draw > 0.85
    subject = rng.choice(NAMES) if draw < 0.35 else f"the {rng.choice(PLURALS if plural else PEOPLE)}"
    thing = rng.choice(KINDS[kind].split())
    return Event(
        subject,
        plural,
        *forms.split(),
        kind,
        thing,
        adjective=rng.choice(["", "", "old", "red", "large", "small", "new", "expensive", "blue"]),
        count=rng.randint(2, 30) if rng.random() < 0.15 and not thing.endswith(("h", "f", "x", "y", "o")) else 0,
        place=rng.choice(PLACES) if rng.random() < 0.5 else "",
        time=rng.choice(TIMES) if rng.random() < 0.5 else "",
        manner=rng.choice(MANNERS) if rng.random() < 0.15 else "",
    )


def weaken(rng: random.Random, event: Event) -> Event:
    """Drop details or generalise: the result follows from ``event``."""
    for field in ("adjective", "place", "time", "manner"):
        if rng.random() < 0.5:
            event = replace(event, **{field: ""})
    if rng.random() < 0.3 and not event.count:
        event = replace(event, thing=event.kind, adjective="")
    if rng.random() < 0.2 and not event.plural:
        event = replace(event, subject="someone")
    return event


def events(rng: random.Random) -> Pair:
    """Somebody did something: details, synonyms, passive, negation, opposites, swaps, modality."""
    event = new_event(rng)
    weak = weaken(rng, event)
    front = rng.random() < 0.3
    style = rng.choice(["past", "past", "past", "progressive", "passive"])
    premise = event.say(style, front)
    change = rng.randrange(30)
    label = (E, N, C)[change % 3]
    change //= 3
    if label == E:
        if change == 0:
            return event.say("managed"), weak.say("past"), E
        if change == 1:
            return event.say("did not"), replace(event, manner="").say("didn't", not front), E
        form = style if style == "progressive" else rng.choice(["past", "synonym", "passive", "past"])
        return premise, weak.say(form, rng.random() < 0.3), E
    if label == C:
        if style == "progressive":
            return premise, weak.say("not progressive"), C
        if change < 4:
            bare = replace(weak, time=rng.choice(["", event.time]), place=rng.choice(["", event.place]))
            if bare.thing == event.kind or bare.subject == "someone":
                bare = replace(bare, thing=event.thing, subject=event.subject)
            form = rng.choice(["did not", "didn't", "never", "failed", "refused", "not passive", "n't passive"])
            both = (premise, bare.say(form))
            return (*(both if rng.random() < 0.7 else both[::-1]), C)
        if change == 4 and event.opposite != "-":
            return premise, replace(weak, thing=event.thing, subject=event.subject).say("opposite"), C
        if change == 5:
            none = rng.choice(["Nobody", "No one"])
            return premise, f"{none} {event.past} {rng.choice(['a', 'any'])} {event.thing}.", C
        kept = replace(event, manner="")
        if change == 6:
            place = event.place or PLACES[0]
            other = rng.choice([p for p in PLACES if p != place])
            return replace(event, place=place).say(style), replace(kept, place=other).say(style), C
        if change == 7:
            other = f"the {rng.choice([p for p in PEOPLE if p not in event.subject])}"
            swapped = replace(kept, subject=other, plural=False, time=rng.choice(["", event.time]))
            return event.say("passive"), swapped.say(rng.choice(["passive", "past"])), C
        if change == 8:
            count = event.count or rng.randint(2, 20)
            other = rng.choice([n for n in range(2, 30) if n != count])
            if event.thing.endswith(("h", "f", "x", "y", "o")):
                return premise, replace(kept, time="").say("didn't"), C
            return (
                replace(event, count=count).say(style),
                replace(weak, thing=event.thing, count=other).say(),
                C,
            )
        old, new = rng.choice([("old", "new"), ("red", "blue"), ("large", "small"), ("cheap", "expensive")])
        if rng.random() < 0.5:
            old, new = new, old
        both = (replace(event, adjective=old, count=0), replace(kept, adjective=new, count=0, place=""))
        return both[0].say(style), both[1].say(style), C
    other = new_event(rng)
    if change == 0:
        return event.say(rng.choice(["might", "wants", "will"])), weak.say("past"), N
    if change == 1:
        return replace(event, place="").say(style), replace(event, place=rng.choice(PLACES)).say(style), N
    if change == 2:
        bare = replace(event, manner="", time="")
        return bare.say(), bare.say()[:-1] + f" {rng.choice(REASONS)}.", N
    if change == 3 and not event.count:
        general = replace(event, thing=event.kind, adjective="")
        return general.say("past"), replace(event, adjective="").say(), N
    if change == 4:
        same = replace(other, subject=event.subject, plural=event.plural)
        return premise, same.say(rng.choice(["past", "never", "didn't"])), N
    if change == 5:
        return replace(event, adjective="").say(), replace(weak, adjective="red", thing=event.thing).say(), N
    if change == 6:
        extra = replace(weak, time=rng.choice([t for t in TIMES if t != event.time]), subject=event.subject)
        return replace(event, time="").say(), extra.say(), N
    if change == 7:
        return replace(event, subject="someone", plural=False).say(), event.say(), N
    return premise, other.say(rng.choice(["past", "did not", "progressive", "passive"])), N


def social(rng: random.Random) -> Pair:
    """Person to person: passive, converse and swapped roles."""
    base, past, participle, _ = rng.choice(SOCIAL.split("|")).split()
    one, two, three = rng.sample([*NAMES, *(f"the {p}" for p in PEOPLE)], 3)
    tail = rng.choice(["", *TIMES, *PLACES])
    premise = sentence(f"{one} {past} {two} {tail}")
    passive = sentence(f"{two} was {participle} by {one} {tail}")
    if rng.random() < 0.3:
        premise, passive = passive, premise
    lend, borrow = rng.choice([("lent a book to", "borrowed a book from"), ("sold a car to", "bought a car from"),
                               ("gave a ring to", "got a ring from"), ("beat", "lost to"),
                               ("sent a parcel to", "received a parcel from"),
                               ("won the race against", "was beaten in the race by"),
                               ("is a student of", "is a teacher of"), ("is the mother of", "is the child of"),
                               ("lives to the east of", "lives to the west of"),
                               ("arrived before", "arrived after")])  # fmt: skip
    if rng.random() < 0.5:
        lend, borrow = borrow, lend
    give, take = sentence(f"{one} {lend} {two}"), sentence(f"{two} {borrow} {one}")
    return rng.choice([
        (premise, passive, E),
        (give, take, E),
        (premise, sentence(f"{two} {past} {one}"), C),
        (premise, sentence(f"{one} was {participle} by {two}"), C),
        (give, sentence(f"{one} {borrow} {two}"), C),
        (give, sentence(f"{two} {lend} {one}"), C),
        (premise, sentence(f"{one} did not {base} {two}"), C),
        (premise, sentence(f"{two} {past} {three}"), N),
        (premise, sentence(f"{one} {past} {two} {rng.choice(REASONS)}"), N),
        (give, sentence(f"{two} {lend} {three}"), N),
    ])  # fmt: skip


def quantities(rng: random.Random) -> Pair:
    """Counts, prices and years, in digits and in words; bounds."""
    thing, place = rng.choice([c.replace("_", " ") for c in COUNTED.replace("/in the ", "/in_the_").replace(
        "/on the ", "/on_the_").split()]).split("/")  # fmt: skip
    one = rng.randint(2, 99) if rng.random() < 0.8 else rng.randint(100, 3000)
    two = rng.choice([n for n in (one + 1, one - 1, one * 2, rng.randint(2, 99), one + 10) if n != one and n > 1])
    writes: list[Callable[[int], str]] = [spell, str]
    w1, w2 = rng.choice(writes), rng.choice(writes)
    frames = rng.choice([
        (f"There are {{}} {thing} {place}.", f"{{}} {thing} are {place}.", f"We counted {{}} {thing} {place}."),
        (f"{{}} {thing} were seen {place}.", f"There were {{}} {thing} {place}.", f"I saw {{}} {thing} {place}."),
        ("The ticket costs {} dollars.", "You pay {} dollars for the ticket.", "The price of the ticket is ${}."),
        ("The trip takes {} minutes.", "The trip lasts {} minutes.", "You need {} minutes for the trip."),
        ("The tower is {} metres tall.", "The height of the tower is {} metres.", "The tower rises {} metres."),
        ("{} people attended the concert.", "The concert had {} guests.", "The concert drew a crowd of {}."),
    ])  # fmt: skip
    say = [sentence(f.format((str if "$" in f else w)(one))) for f, w in zip(frames, (w1, w2, w1), strict=True)]
    wrong = [sentence(f.format((str if "$" in f else w2)(two))) for f in frames]
    low, high = sorted((one, two))
    year, later = rng.randint(1700, 2015), rng.randint(1, 90)
    person, act = (
        rng.choice(NAMES),
        rng.choice(["was born", "died", "moved abroad", "won the prize", "retired"]),
    )
    return rng.choice([
        (say[0], rng.choice(say[1:]), E),
        (say[1], rng.choice((say[0], say[2])), E),
        (say[0], sentence(f"there are {thing} {place}"), E) if thing in say[0] else (say[0], say[2], E),
        (f"There are more than {spell(high)} {thing} {place}.", f"Over {low} {thing} are {place}.", E),
        (say[0], rng.choice(wrong), C),
        (rng.choice(say), rng.choice(wrong), C),
        (f"There are {spell(one)} {thing} {place}.", f"There are no {thing} {place}.", C),
        (f"{person} {act} in {year}.", f"{person} {act} in {year + later}.", C),
        (f"There are fewer than {low} {thing} {place}.", f"More than {high} {thing} are {place}.", C),
        (say[0], sentence(f"{w1(two)} people live near the station"), N),
        (f"There are {spell(one)} {thing} {place}.", f"{sentence(spell(two))[:-1]} of the {thing} are new.", N),
        (f"There are some {thing} {place}.", f"There are {spell(one)} {thing} {place}.", N),
        (f"There are at least {low} {thing} {place}.", f"There are {high} {thing} {place}.", N),
        (f"{person} {act} in {year}.", f"{person} visited {rng.choice(CITIES)} in {year - later}.", N),
    ])  # fmt: skip


def properties(rng: random.Random) -> Pair:
    """Adjectives: synonyms, opposites, negated opposites, other properties."""
    words, nouns = rng.choice(ADJECTIVES.splitlines()).split(" | ")
    adjective, synonym, opposite = words.split()
    noun = rng.choice(nouns.split(","))
    if rng.random() < 0.5:
        adjective, opposite, synonym = opposite, adjective, f"very {opposite}"
    be, no = rng.choice([("is", "is not"), ("was", "was not"), ("is", "isn't"), ("was", "wasn't"),
                         ("seems", "does not seem"), ("looked", "didn't look")])  # fmt: skip
    the = rng.choice(["the", "this", "our", "that"])
    where = rng.choice(["", "", f"in {rng.choice(CITIES)}", "in the picture", "today"])
    other, others = rng.choice(ADJECTIVES.splitlines()).split()[0], rng.choice(PEOPLE)
    yes = sentence(f"{the} {noun} {where} {be} {rng.choice(['', 'very', 'quite', 'really'])} {adjective}")
    plain = sentence(f"{the} {noun} {be} {adjective}")
    event = new_event(rng)
    return rng.choice([
        (yes, plain, E),
        (yes, sentence(f"{the} {noun} {be} {synonym}"), E) if "very" not in synonym else (yes, plain, E),
        (yes, sentence(f"{the} {noun} {no} {opposite}"), E),
        (sentence(f"{the} {adjective} {noun} belongs to {event.subject}"),
         sentence(f"{event.subject} owns {article(noun)}") if not event.plural else plain, E)
        if not event.plural else (yes, plain, E),
        (sentence(f"{the} {noun} {no} {adjective}"), sentence(f"{the} {noun} {no} {adjective}"), E),
        (sentence(f"{the} {noun} is both {adjective} and {other}"), sentence(f"{the} {noun} is {adjective}"), E),
        (yes, sentence(f"{the} {noun} {where} {be} {opposite}"), C),
        (yes, sentence(f"{the} {noun} {be} {rng.choice(['too', 'very', 'quite', ''])} {opposite}"), C),
        (yes, sentence(f"{the} {noun} {no} {adjective}"), C),
        (sentence(f"{the} {noun} {no} {adjective} at all"), yes, C),
        (sentence(f"{event.subject} saw {article(adjective)} {noun}"),
         sentence(f"the {noun} that {event.subject} saw was {opposite}"), C),
        (yes, sentence(f"the {others} is {opposite}"), N),
        (yes, sentence(f"{the} {noun} {be} {other}"), N) if other not in words else (yes, event.say(), N),
        (plain, sentence(f"{the} {noun} {be} {adjective} because of the {others}"), N),
        (sentence(f"{the} {noun} {no} {adjective}"), event.say(rng.choice(["past", "did not"])), N),
        (sentence(f"{the} {noun} might be {adjective}"), sentence(f"{the} {noun} is {adjective}"), N),
    ])  # fmt: skip


def comparisons(rng: random.Random) -> Pair:
    """Comparatives between names, and series that rise or fall."""
    if rng.random() < 0.5:
        more, less = rng.sample(rng.choice(COMPARE.split("|")).split(), 2)
        one, two, three = rng.sample([*NAMES, *(f"the {p}" for p in PEOPLE)], 3)
        premise = sentence(f"{one} is {more} than {two}")
        return rng.choice([
            (premise, sentence(f"{two} is {less} than {one}"), E),
            (premise, sentence(f"{two} is not {more} than {one}"), E),
            (premise, sentence(f"{one} is {less} than {two}"), C),
            (premise, sentence(f"{two} is {more} than {one}"), C),
            (premise, sentence(f"{one} is not {more} than {two}"), C),
            (premise, sentence(f"{one} is {more} than {three}"), N),
            (premise, sentence(f"{three} is {less} than {two}"), N),
        ])  # fmt: skip
    up, down = (UP, DOWN) if rng.random() < 0.5 else (DOWN, UP)
    what, other = rng.sample(SERIES, 2)
    when = rng.choice(["last year", "in May", "this week", "between 1990 and 2000", "over the decade"])
    how = rng.choice(["", "sharply", "a little", "by five percent", "steadily"])
    one, two, three = rng.choice(up), rng.choice(up), rng.choice(down)
    premise = sentence(f"{what} {one} {how} {when}".replace("_", " "))
    yes = rng.choice([f"{what} {two} {when}", f"{what} {one}", f"there was a change in {what} {when}"])
    no = rng.choice([f"{what} {three} {when}", f"{what} {three} {how} {when}", f"{what} stayed the same {when}"])
    maybe = rng.choice([f"{other} {two} {when}", f"{what} {two} because of the war {when}",
                        f"{what} will be discussed in parliament", f"{other} {three} {when}"])  # fmt: skip
    hypothesis, label = rng.choice([(yes, E), (no, C), (maybe, N)])
    return premise, sentence(hypothesis.replace("_", " ")), label


def advice(rng: random.Random) -> Pair:
    """Do, do not, and other advice."""
    base, ing, passive = rng.choice(ADVICE).split("/")
    other = rng.choice([a for a in ADVICE if not a.startswith(base)]).split("/")

    def tell(frames: list[str], words: list[str]) -> str:
        return sentence(rng.choice(frames).format(*words[:2]))

    mine = [base, ing]
    same, against = (DO, DONT) if rng.random() < 0.6 else (DONT, DO)
    tail = rng.choice([" if you can", " whenever possible", ", as it saves trouble", " before you start"])
    return rng.choice([
        (tell(same, mine), tell(same, mine), E),
        (tell(same, mine)[:-1] + tail + ".", tell(same, mine), E),
        (tell(DO, mine), sentence(passive), E),
        (tell(same, mine), tell(against, mine), C),
        (tell(DONT, mine), sentence(passive), C),
        (f"You must {base}.", f"There is no need to {base}.", C),
        (f"You must {base}.", f"You are required to {base}.", E),
        (tell(same, mine), tell(rng.choice([same, against]), other), N),
        (f"You may {base}.", f"You have to {base}.", N),
        (tell(same, mine), tell(same, mine)[:-1] + rng.choice([" on Sundays.", " with a partner.", " twice."]), N),
    ])  # fmt: skip


def arithmetic(rng: random.Random) -> Pair:
    """Sums and products in several wordings, right and wrong."""
    one, two = rng.randint(2, 30), rng.randint(2, 12)
    times = rng.random() < 0.5
    result = one * two if times else one + two
    wrong = rng.choice([n for n in (result + 1, result - 1, result + 10, result + 2, result - 2) if n > 0])
    write = rng.choice([str, spell])
    wordings = (
        ["{a} times {b} is {r}.", "{a} x {b} = {r}.", "The product of {a} and {b} is {r}.", "{a} * {b} equals {r}.",
         "If you multiply {a} by {b}, you get {r}.", "{r} divided by {b} is {a}."]
        if times
        else ["{a} plus {b} is {r}.", "{a} + {b} = {r}.", "The sum of {a} and {b} is {r}.", "{a} and {b} make {r}.",
              "Adding {b} to {a} gives {r}.", "{r} minus {b} is {a}.",
              "She had {a} coins and got {b} more, so now she has {r} coins."]
    )  # fmt: skip

    def say(r: int, wording: str, w: Callable[[int], str]) -> str:
        return sentence(wording.format(a=w(one), b=w(two), r=w(r)))

    first, second = rng.choice(wordings), rng.choice(wordings)
    good = say(result, first, str)
    lead = rng.choice(["The answer is {}.", "The result is {}.", "So the total is {}.", "This gives {} in all."])
    return rng.choice([
        (good, say(result, second, write), E),
        (good, sentence(lead.format(write(result))), E),
        (good, say(wrong, second, write), C),
        (good, say(wrong, first, str), C),
        (good, sentence(lead.format(write(wrong))), C),
        (good, f"{one + two + 3} is larger than {two}.", N),
        (good, f"The price is {wrong} dollars.", N),
        (f"y is more than {one}.", f"y is equal to {one + two}.", N),
    ])  # fmt: skip


def generics(rng: random.Random) -> Pair:
    """Quantifiers over kinds and their members."""
    line = rng.choice(FACTS)
    kind, rest = line.split(" ", 1)
    fact, maybe = rest.split("/")
    member = rng.choice(SPECIES[kind].split("/")) if kind in SPECIES else f"these {kind}"
    people = rng.choice(PLURALS)
    did = rng.choice(["passed the test", "liked the food", "were late", "had a map", "signed the letter"])
    return rng.choice([
        (f"All {kind} {fact}.", sentence(f"{member} {fact}"), E),
        (f"All {kind} {fact}.", f"Some {kind} {fact}.", E),
        (f"Every one of the {people} {did}.", f"Most of the {people} {did}.", E),
        (f"No {kind} {maybe}.", f"There are no {kind} that {maybe}.", E),
        (f"{sentence(member)[:-1]} are {kind}, and they {fact}.", f"Some {kind} {fact}.", E),
        (f"All {kind} {fact}.", f"No {kind} {fact}.", C),
        (f"Most {kind} {maybe}.", f"Few {kind} {maybe}.", C),
        (f"None of the {people} {did}.", f"Some of the {people} {did}.", C),
        (f"Only one of the {people} {did}.", f"All of the {people} {did}.", C),
        (f"Many of the {people} {did}.", f"Nobody {did}.", C),
        (f"No {kind} {maybe}.", sentence(f"{member} {maybe}"), C),
        (f"All {kind} {fact}.", f"All {kind} {maybe}.", N),
        (f"Some {kind} {maybe}.", f"All {kind} {maybe}.", N),
        (f"Some of the {people} {did}.", f"Most of the {people} {did}.", N),
        (f"Not all {kind} {maybe}.", sentence(f"{member} {maybe}"), N),
        (sentence(f"{member} {fact}"), sentence(f"{member} {maybe}"), N),
    ])  # fmt: skip


def opinions(rng: random.Random) -> Pair:
    """Likes and dislikes."""
    topic, other = rng.sample(TOPICS, 2)
    name, second = rng.sample(NAMES, 2)
    pro, con = (LIKES, HATES) if rng.random() < 0.5 else (PRO, CON)
    if rng.random() < 0.4:
        pro, con = con, pro

    def say(frames: list[str], x: str, a: str) -> str:
        return sentence(rng.choice(frames).format(A=a, x=x))

    return rng.choice([
        (say(pro, topic, name), say(pro, topic, name), E),
        (say(pro, topic, name), say(con, topic, name), C),
        (say(pro, topic, name), rng.choice([say(pro, other, name), say(con, other, name)]), N),
        (say(LIKES, topic, name), say(LIKES, topic, second), N),
    ])  # fmt: skip


def attitudes(rng: random.Random) -> Pair:
    """Clauses inside clauses: belief, hope, condition, cause, conjunction, disjunction."""
    one, two = new_event(rng), new_event(rng)
    first, second = one.say(), two.say()
    inner, inner2 = (s[:-1] if s.split()[0] in NAMES else s[0].lower() + s[1:-1] for s in (first, second))
    who = rng.choice([n for n in NAMES if n not in (one.subject, two.subject)])
    no_first = replace(one, time="").say(rng.choice(["didn't", "did not", "never"]))
    believes = rng.choice(["thinks", "hopes", "claims", "says", "believes", "dreamed", "suspects"])
    knows = rng.choice(["knows", "realised", "noticed", "found out", "remembers", "is glad"])
    joined = rng.choice([f"{first[:-1]} because {inner2}.", f"{first[:-1]} and {inner2}.",
                         f"Because {inner2}, {inner}.", f"{first[:-1]}, so {inner2}."])  # fmt: skip
    return rng.choice([
        (f"{who} {knows} that {inner}.", first, E),
        (joined, rng.choice([first, second]), E),
        (joined, weaken(rng, two).say(), E),
        (f"{who} {knows} that {inner}.", no_first, C),
        (joined, no_first, C),
        (joined, replace(two, manner="").say("didn't"), C),
        (f"{who} {believes} that {inner}.", first, N),
        (f"If {inner}, then {inner2}.", rng.choice([first, second]), N),
        (f"Either {inner} or {inner2}.", rng.choice([first, second]), N),
        (first, f"{first[:-1]} because {inner2}.", N),
        (f"It is possible that {inner}.", first, N),
    ])  # fmt: skip


FAMILIES: list[tuple[Callable[[random.Random], Pair], int]] = [
    (events, 28), (social, 6), (quantities, 9), (properties, 12), (comparisons, 7), (advice, 8),
    (arithmetic, 5), (generics, 6), (opinions, 4), (attitudes, 6),
]  # fmt: skip


def negated(text: str, contracted: bool) -> str | None:
    """Put ``not`` after the auxiliary of a plain sentence; None where there is none or the scope is unclear."""
    words = text.split()
    lower = {word.lower().strip(".,") for word in words}
    if lower & UNCLEAR or any("n't" in word for word in lower):
        return None
    at = next((i for i, word in enumerate(words) if i and word in AUXILIARIES), None)
    if at is None:
        return None
    short = {"can": "can't", "will": "won't"}.get(words[at], words[at] + "n't")
    return " ".join([*words[:at], short if contracted else f"{words[at]} not", *words[at + 1 :]])


def seed_groups() -> list[list[str]]:
    """Read the four-line groups of ``standin_nli_seeds.txt``."""
    text = Path(__file__).with_name("standin_nli_seeds.txt").read_text(encoding="utf-8")
    return [block.splitlines() for block in text.strip().split("\n\n") if not block.startswith("#")]


def seeded(rng: random.Random, groups: list[list[str]]) -> Pair:
    """One pair of a group of natural sentences, with names, numbers and an opening phrase drawn anew."""
    lines = rng.choice(groups)
    both_ways = lines[0].startswith("= ")
    (a, b), (n, m) = rng.sample(NAMES, 2), rng.sample(range(20, 2000), 2)
    whole, follows, open_, ruled_out = (s.removeprefix("= ").format(A=a, B=b, N=n, M=m) for s in lines)
    other = rng.choice(rng.choice(groups)).removeprefix("= ").format(A=b, B=a, N=m, M=n)
    start = follows if both_ways else whole
    pairs = [
        (whole, follows, E), (start, whole, E), (whole, open_, N), (follows, open_, N), (whole, other, N),
        (whole, ruled_out, C), (ruled_out, whole, C), (start, ruled_out, C), (ruled_out, start, C),
        (whole, follows, E), (start, whole, E), (whole, open_, N),
    ]  # fmt: skip
    premise, hypothesis, label = rng.choice(pairs)
    if rng.random() < 0.2:
        plain = rng.choice([whole, follows, open_, ruled_out])
        denied = negated(plain, rng.random() < 0.5)
        if denied:
            return rng.choice([(plain, denied, C), (plain, denied, C), (denied, plain, C), (denied, denied, E)])
    if other in (whole, follows, open_, ruled_out) and hypothesis == other:
        return whole, whole, E
    prefix = rng.choice(PREFIXES) if rng.random() < 0.15 else ""
    if prefix and premise.split()[0] in ("The", "It", "You", "A", "Most", "Both", "She", "He"):
        premise = prefix + premise[0].lower() + premise[1:]
    return premise, hypothesis, label


def rule_pair(rng: random.Random) -> Pair:
    """One pair of the rule families; now and then identical sentences or ones of unrelated families."""
    makers, weights = zip(*FAMILIES, strict=True)
    premise, hypothesis, label = rng.choices(makers, weights)[0](rng)
    draw = rng.random()
    if draw < 0.03:
        return premise, premise, E
    if draw < 0.08:
        return premise, rng.choices(makers, weights)[0](rng)[1], N
    return premise, hypothesis, label


def training_pairs(seed: int, count: int = 12_000, natural: float = 0.5) -> tuple[list[Pair], list[Pair]]:
    """Make the training pairs and a small development set.

    Args:
        seed: Decides every pair.
        count: How many pairs to train on, a third of each label.
        natural: Share of them from the groups of natural sentences.

    Returns:
        The pairs to train on, and pairs of the groups that were kept out of them (every sixth).
    """
    rng = random.Random(seed)
    groups = seed_groups()
    kept_out = groups[::6]
    groups = [g for g in groups if g not in kept_out]
    left = dict.fromkeys((E, N, C), count // 3)
    pairs: list[Pair] = []
    while any(left.values()):
        pair = seeded(rng, groups) if rng.random() < natural else rule_pair(rng)
        if left[pair[2]]:
            left[pair[2]] -= 1
            pairs.append(pair)
    return pairs, sorted({seeded(rng, kept_out) for _ in range(400)})
