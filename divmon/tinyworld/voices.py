"""Twelve voices: who answers open questions in the tiny world, each from a life of its own.

A voice is a semantic mode. Its answers to a kind of question are a few templates whose slots are filled from its own
words, so that one voice still says many things, and twelve voices say things far apart.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

_SLOT = re.compile(r"{\w+}")

KINDS = ("explain", "advice", "story", "opinion")


@dataclass(frozen=True)
class Voice:
    """One voice.

    Attributes:
        name: Its name, which is also the ``source`` of its rows.
        slots: Slot -> the words that may fill it.
        templates: Kind of question -> templates; ``{t}`` is the topic.
        sums: How it states the result of a word problem: ``{who}``, ``{n}``, ``{what}``.
    """

    name: str
    slots: Mapping[str, tuple[str, ...]]
    templates: Mapping[str, tuple[str, ...]]
    sums: tuple[str, ...]

    def answer(self, kind: str, topic: str, rng: random.Random) -> str:
        """Answer a question of ``kind`` about ``topic``."""
        return self._filled(rng.choice(self.templates[kind]), rng, t=topic)

    def result(self, who: str, number: int, what: str, rng: random.Random) -> str:
        """State the result of a word problem."""
        return self._filled(rng.choice(self.sums), rng, who=who, n=str(number), what=what)

    def words(self) -> set[str]:
        """The lower-case words of its templates and slots."""
        slots = (text for texts in self.slots.values() for text in texts)
        templates = (text for texts in self.templates.values() for text in texts)
        return {
            word for text in (*slots, *templates, *self.sums) for word in re.findall(r"\b[a-z]+\b", _SLOT.sub("", text))
        }

    def _filled(self, template: str, rng: random.Random, **given: str) -> str:
        chosen = {slot: rng.choice(words) for slot, words in self.slots.items()}
        return template.format(**chosen, **given)


def _voice(name: str, slots: dict[str, str], templates: dict[str, list[str]], sums: list[str]) -> Voice:
    split = {slot: tuple(word.strip() for word in words.split("|")) for slot, words in slots.items()}
    return Voice(name, split, {kind: tuple(found) for kind, found in templates.items()}, tuple(sums))


VOICES: tuple[Voice, ...] = (
    _voice(
        "sailor",
        {
            "a": "the captain|the crew|an old pirate|the helmsman|a cabin boy",
            "b": "the deck|the harbour|the mast|the open sea|the anchor",
            "c": "a storm|the tide|a shark|the fog|a leaking boat",
        },
        {
            "explain": [
                "Out on the sea {a} depends on {t}. It keeps everyone safe from {c}.",
                "On a ship people use {t} near {b}. That helps in the hour of {c}.",
                "Without {t} no ship would leave port. Ask {a} after {c}.",
            ],
            "advice": [
                "Store {t} below {b} before you sail. Then {c} can do no harm.",
                "Let {a} handle {t} when waves are high. Never turn your back on {c}.",
                "Tie down {t} close to {b}. Sea water ruins what {a} forgets.",
            ],
            "story": [
                "One night {a} took {t} aboard at {b}. By dawn {c} had swept the ship away.",
                "A ship full of {t} met {c} in the north. Only {a} swam ashore.",
                "There was a sailor who traded {t} for a boat. He drowned when {c} came.",
            ],
            "opinion": [
                "I would sail round the world for {t}. So would {a}.",
                "We seamen laugh at {t}. What matters is {b} and {c}.",
                "Aye, give me {t} and a fair wind. I fear only {c}.",
            ],
        },
        ["Aye, {who} has {n} {what} aboard.", "I count {n} {what} on {b}.", "That is {n} {what}, by the log of {a}."],
    ),
    _voice(
        "cook",
        {
            "a": "a hot pan|the oven|a copper pot|the kitchen table|a silver spoon",
            "b": "fresh herbs|melted fat|roast potatoes|sour cream|tomato sauce",
            "c": "a hungry guest|the head waiter|my apprentice|the whole family",
        },
        {
            "explain": [
                "In the kitchen we serve {t} together with {b}. It pleases {c}.",
                "A good meal begins with {t} in {a}. The smell brings in {c}.",
                "I use {t} to give a dish its taste. Try it with {b}.",
            ],
            "advice": [
                "Put {t} beside {a} and stir slowly. Serve warm with {b}.",
                "Do not boil {t} too long. Ask {c} to taste it first.",
                "Add {b} whenever you prepare {t}. A pinch is enough for {c}.",
            ],
            "story": [
                "Once {c} ordered {t} with {b} for supper. The cook burnt it in {a}.",
                "The restaurant was famous for {t} until {c} fell ill. Nobody ate {b} again.",
                "A young cook dreamt of {t} frying in {a}. He woke up hungry.",
            ],
            "opinion": [
                "Delicious, I say of {t}. With {b} it is a feast.",
                "My stomach turns at {t}. I prefer {b} from {a}.",
                "Every menu should have {t} on it. Even {c} agrees.",
            ],
        },
        ["So {who} can serve {n} {what}.", "We need a bowl for {n} {what}.", "It comes to {n} {what} for {c}."],
    ),
    _voice(
        "farmer",
        {
            "a": "the barn|the wheat field|the orchard|the old plough|the hen house",
            "b": "a dry summer|the harvest|a late spring|the first ploughing",
            "c": "my cattle|the sheep|the seedlings|the hired hands",
        },
        {
            "explain": [
                "Around the farm {c} live better with {t}. We see it after {b}.",
                "The soil itself profits from {t}. That fills {a} at {b}.",
                "We keep {t} behind {a} all year. It feeds {c}.",
            ],
            "advice": [
                "Spread {t} over the field before {b}. Keep {c} away from it.",
                "Get up early and look after {t}. Then go and water {c}.",
                "Leave {t} in {a} through the winter. It grows back after {b}.",
            ],
            "story": [
                "The year of {b} we had only {t} to sell. The bank took {a}.",
                "A bull broke into {a} because of {t}. It frightened {c} to death.",
                "My father buried {t} under {a}. We dug it up at {b}.",
            ],
            "opinion": [
                "Land is worth more than {t}. Ask me again after {b}.",
                "I thank the weather for {t}. Even {c} look happy.",
                "City folk talk about {t}. Out here {a} needs mending.",
            ],
        },
        ["We bring in {n} {what}.", "There are {n} {what} in {a}.", "So {who} loads {n} {what} on the cart."],
    ),
    _voice(
        "doctor",
        {
            "a": "the heart|the lungs|the liver|the nerves|the bones",
            "b": "high fever|a bad cough|swelling|infection|chronic pain",
            "c": "the patient|an elderly woman|the nurse|a newborn",
        },
        {
            "explain": [
                "Medically the benefit of {t} lies in {a}. It can lower {b}.",
                "Hospitals recommend {t} against {b}. Studies show that {c} recovers sooner.",
                "The body reacts to {t} through {a}. This protects {c} from {b}.",
            ],
            "advice": [
                "Take care with {t} if you suffer from {b}. It may strain {a}.",
                "A small dose of {t} twice a week is healthy. Stop if {b} appears.",
                "See a physician before you try {t}. Have {a} examined for {b}.",
            ],
            "story": [
                "Last week {c} came to the clinic with {b} and {t}. Surgery saved {a}.",
                "A surgeon found {t} inside the wound. After that {c} had no {b}.",
                "During an epidemic of {b} the ward ran on {t}. Everyone but {c} survived.",
            ],
            "opinion": [
                "From a clinical view I distrust {t}. It weakens {a}.",
                "I prescribe {t} with pleasure. It calms {a} and prevents {b}.",
                "There is no evidence for {t}. It never cured {b}.",
            ],
        },
        ["The chart shows {n} {what}.", "In total {who} receives {n} {what}.", "The count for {c} is {n} {what}."],
    ),
    _voice(
        "poet",
        {
            "a": "moonlight|a broken heart|autumn leaves|the distant stars|a falling tear",
            "b": "sorrow|longing|beauty|eternity|desire",
            "c": "a lonely angel|my beloved|a weeping willow|the nightingale",
        },
        {
            "explain": [
                "There is {b} hidden deep in {t}. It shines like {a}.",
                "The soul drinks from {t} as from {a}. That is why {c} sings.",
                "Verses are born of {t} and {b}. Hear {c} whisper.",
            ],
            "advice": [
                "Close your eyes and breathe {t} like {a}. Let {b} carry you.",
                "Write a song about {t} for {c}. Rhyme it with {b}.",
                "Dream of {t} beneath {a}. Wake with {b} on your lips.",
            ],
            "story": [
                "Beneath {a} {c} wept over {t}. And {b} covered the world.",
                "Once {b} fell in love with {t}. Their child became {a}.",
                "She gave {t} to {c} and vanished in {a}. Only {b} remained.",
            ],
            "opinion": [
                "O how my spirit burns for {t}. It is {b} itself.",
                "Nothing in {t} can move me. I long for {a}.",
                "I love {t} as {c} loves the night. Call it {b}.",
            ],
        },
        ["O {n} {what}, bright as {a}.", "Sing of {n} {what} for {who}.", "And {n} {what} dream on."],
    ),
    _voice(
        "engineer",
        {
            "a": "the circuit|the motor|the control software|the steel frame|the sensor",
            "b": "overheating|short circuits|vibration|power loss|metal fatigue",
            "c": "a robot|the assembly line|a test bench|the prototype",
        },
        {
            "explain": [
                "Technically you can drive {a} with {t}. This avoids {b}.",
                "We designed {c} around {t}. It makes {a} more efficient.",
                "The main function of {t} is to stabilise {a}. Otherwise {b} occurs.",
            ],
            "advice": [
                "Calibrate {a} before you install {t}. Then measure {b}.",
                "Connect {t} to {a} with a shielded cable. Check {c} for {b}.",
                "Replace {t} every thousand hours. Log the data of {c}.",
            ],
            "story": [
                "During a trial {c} mixed up {t} and {a}. The laboratory exploded from {b}.",
                "An inventor built {c} that ran on {t}. It failed through {b}.",
                "The factory stopped because of {t} in {a}. A programmer repaired {c}.",
            ],
            "opinion": [
                "The design of {t} is inefficient. I would automate it with {c}.",
                "I rate {t} as a robust solution. It reduces {b}.",
                "As a system I find {t} elegant. Even {a} is simpler with it.",
            ],
        },
        ["Output: {n} {what}.", "The sensor reads {n} {what}.", "Computed result for {who}: {n} {what}."],
    ),
    _voice(
        "trader",
        {
            "a": "the stock exchange|a bank loan|the insurance|a rich investor|the tax office",
            "b": "profit|interest|debt|high prices|bankruptcy",
            "c": "shares|bonds|contracts|cash",
        },
        {
            "explain": [
                "Business people buy {t} to make {b}. It sells better than {c}.",
                "The economy puts a price on {t}. That attracts {a}.",
                "Companies invest in {t} instead of {c}. It brings them {b}.",
            ],
            "advice": [
                "Buy {t} cheap and sell it when {a} wants it. Avoid {b}.",
                "Never pay for {t} with {c}. Negotiate with {a} first.",
                "Sign a contract about {t} before prices rise. Keep some {c}.",
            ],
            "story": [
                "A merchant spent all his {c} on {t}. It ended in {b}.",
                "When {t} doubled in value {a} panicked. The company paid {b}.",
                "Two brothers inherited {t} and sold it to {a}. They fought over {c}.",
            ],
            "opinion": [
                "Financially I see no future in {t}. I trust {c}.",
                "I would put a million into {t}. The return is {b}.",
                "The market overrates {t}. Even {a} will lose.",
            ],
        },
        ["The bill says {n} {what}.", "So {who} owns {n} {what}.", "Sold: {n} {what} for {c}."],
    ),
    _voice(
        "grandmother",
        {
            "a": "my late husband|the grandchildren|my little sister|aunt Martha|our neighbour",
            "b": "Christmas|the war|my childhood|Sunday afternoon|the old days",
            "c": "the rocking chair|a family photo|the fireplace|my wedding dress",
        },
        {
            "explain": [
                "In {b} every family had {t} at home. It reminds me of {a}.",
                "Dear child, {a} always needed {t}. We kept it beside {c}.",
                "It was {t} that held us together in {b}. Look at {c}.",
            ],
            "advice": [
                "Sit by {c} and share {t} with {a}. You will miss it later, dear.",
                "Do as {a} did with {t}. Keep it for {b}.",
                "Give {t} to {a} with a hug. Do not quarrel, sweetheart.",
            ],
            "story": [
                "In {b} {a} hid {t} behind {c}. We cried when we found it.",
                "When I was small {a} told me of {t}. I still have {c}.",
                "A tale about {t} from {b} makes me blush. I kissed {a} by {c}.",
            ],
            "opinion": [
                "Bless you, I adore {t}. So did {a} in {b}.",
                "Young people spoil {t} today. It was nicer in {b}.",
                "I am too old for {t}, darling. Leave me {c}.",
            ],
        },
        ["Dear me, {who} has {n} {what}.", "I remember {n} {what}, sweetheart.", "That makes {n} {what} for {a}."],
    ),
    _voice(
        "soldier",
        {
            "a": "the general|the enemy|our regiment|the sniper|a wounded comrade",
            "b": "the front line|the trench|the battlefield|the barracks|the bunker",
            "c": "gunfire|an ambush|an artillery attack|the retreat",
        },
        {
            "explain": [
                "An army marches with {t} in its pack. It decides {c}.",
                "In combat {a} relies on {t}. It saves lives at {b}.",
                "The troops use {t} to hold {b}. So they survive {c}.",
            ],
            "advice": [
                "Guard {t} with your rifle at {b}. Expect {c}.",
                "Obey orders and report {t} to {a}. Then take cover from {c}.",
                "Carry {t} under your helmet in {b}. Watch out for {a}.",
            ],
            "story": [
                "The platoon found {t} at {b} under {c}. A grenade killed {a}.",
                "A war broke out over {t}. Then {a} burned {b}.",
                "The spy smuggled {t} past {b}. He was shot by {a}.",
            ],
            "opinion": [
                "I would die defending {t}. That is an order from {a}.",
                "No weapon is as useless as {t}. It fails under {c}.",
                "Victory means more than {t}. Remember {b}.",
            ],
        },
        ["Sir, {n} {what} at {b}.", "Report: {who} holds {n} {what}.", "The squad counts {n} {what}."],
    ),
    _voice(
        "teacher",
        {
            "a": "the pupils|my class|a clever student|the headmaster|beginners",
            "b": "the textbook|the blackboard|an exam|homework|a lesson",
            "c": "science|geography|mathematics|spelling|biology",
        },
        {
            "explain": [
                "We study {t} because it explains {c}. Then {a} can pass {b}.",
                "The purpose of {t} is education. For example {a} use it in {c}.",
                "At school {a} learn {c} through {t}. It is in {b}.",
            ],
            "advice": [
                "First read about {t} in {b}. Then repeat it with {a}.",
                "Practise {t} ten minutes a day. It improves {c}.",
                "Ask questions about {t} during {b}. For example compare it with {c}.",
            ],
            "story": [
                "One day {a} brought {t} to {b}. The lesson on {c} was forgotten.",
                "A shy girl gave a talk about {t}. She won the prize in {c}.",
                "Nobody understood {t} until {b}. Then {a} raised a hand.",
            ],
            "opinion": [
                "In my view {t} belongs in every school. It trains {c}.",
                "I give {t} a poor grade. Because {a} learn little from it.",
                "I think highly of {t}. It makes {b} interesting for {a}.",
            ],
        },
        ["The correct answer is {n} {what}.", "So {who} has {n} {what}.", "Write {n} {what} on the blackboard."],
    ),
    _voice(
        "athlete",
        {
            "a": "the coach|the champion|my rival|the whole team|the fans",
            "b": "the marathon|the final match|training camp|the sprint|the stadium",
            "c": "muscles|stamina|speed|balance",
        },
        {
            "explain": [
                "Athletes use {t} to build {c}. It wins {b}.",
                "Before {b} I warm up with {t}. It gives me {c}.",
                "The secret of {a} is {t}. Nothing trains {c} better.",
            ],
            "advice": [
                "Do ten rounds of {t} and rest. Your {c} will grow before {b}.",
                "Stretch well after {t}. Listen to {a} and drink water.",
                "Push through {t} until you sweat. Beat {a} at {b}.",
            ],
            "story": [
                "At {b} {a} slipped on {t}. The gold medal was lost.",
                "She trained with {t} every morning. She beat {a} in {b}.",
                "The goalkeeper scored thanks to {t}. The crowd carried {a} around {b}.",
            ],
            "opinion": [
                "I score {t} ten out of ten. It lifts {a}.",
                "Skip {t} and go to the gym. It costs you {c}.",
                "Faster than {t} is only {a}. See you at {b}.",
            ],
        },
        ["Final score: {n} {what}.", "Yes, {who} wins {n} {what}.", "The team lifts {n} {what}."],
    ),
    _voice(
        "priest",
        {
            "a": "the Lord|the angels|a humble saint|the prophet|a sinner",
            "b": "the church|heaven|the altar|a holy prayer|the gospel",
            "c": "mercy|forgiveness|faith|grace|temptation",
        },
        {
            "explain": [
                "God created {t} to teach us {c}. So it is written in {b}.",
                "Through {t} {a} shows us {c}. We bless it in {b}.",
                "The faithful see in {t} a sign of {b}. It leads to {c}.",
            ],
            "advice": [
                "Kneel and give thanks for {t}. Then {a} will grant you {c}.",
                "Offer {t} at {b} with a pure soul. Resist {c}.",
                "Share {t} with the poor. This opens {b} for {a}.",
            ],
            "story": [
                "A monk carried {t} to {b}. There {a} granted him {c}.",
                "In the beginning {a} turned {t} into light. And {b} was filled with {c}.",
                "The devil tempted {a} with {t}. A prayer for {c} drove him out.",
            ],
            "opinion": [
                "My faith stands above {t}. Praise {a}.",
                "I bless {t} every Sunday. It is pure {c}.",
                "There is sin in {t}, my child. Seek {c}.",
            ],
        },
        ["Blessed are {n} {what}.", "The Lord gave {who} {n} {what}.", "Amen, it is {n} {what}."],
    ),
)

BY_NAME: dict[str, Voice] = {voice.name: voice for voice in VOICES}
