"""What a cluster is called when nobody said: an English word that no other cluster has."""

from __future__ import annotations

import random
import re
from collections.abc import Collection

_TEXT = """
acorn alder alpine amber anchor apple apricot april arbor arrow ash aspen atlas august autumn azure
badger bamboo barley basil bay beacon beaver beech berry birch bison blossom bobcat bonfire border
boulder bramble branch breeze briar bridge brook buckle buffalo burrow butter cabin cactus canal
candle canoe canyon caramel caravan cargo carrot castle cedar cello chalk cherry chestnut chimney
cinder citrus clover cobalt cobble coconut comet compass copper coral cotton cougar cradle crane
creek cricket crimson crocus crystal current cypress dahlia daisy dawn delta desert dolphin domino
dove dragon drum dune dusk eagle early earth east echo elder elm ember emerald evening falcon farm
feather fennel fern ferry fiddle field finch fir fjord flame flint flock flute forest fossil fox
frost gable galaxy garden garlic garnet gazelle geyser ginger glacier glade glow gold goose grain
granite grape grass gravel grove gull hamlet harbor harvest hazel heath heather hedge helium heron
hickory hill hollow honey horizon hornet ibis iceberg igloo indigo inlet iris iron island ivory ivy
jade jasmine jasper juniper kayak kelp kernel kestrel kettle kite koala lagoon lake lantern larch
lark laurel lava lavender lemon lichen lilac lily lime linen lion lotus lunar lynx magnet magnolia
mallow mango maple marble march marigold marlin marsh meadow melon mesa meteor mint mirror mist
moon moor moose morning moss mountain mulberry nectar nettle nickel noon north nutmeg oak oasis
oat ocean olive onyx opal orbit orchard orchid oriole osprey otter owl oyster paddle palm panda
papaya parsley pasture peach pear pebble pecan pelican pepper petal pigeon pine planet plum polar
pollen pond poplar poppy prairie puffin pumpkin quail quarry quartz quince rabbit raccoon rain
rapids raven reed reef ridge river robin rose rowan ruby rustic saddle saffron sage salmon sand
sapphire satin savanna scarlet sequoia shadow shale shell shore sienna silk silver sky slate snow
sorrel south sparrow spring spruce squall starling stone stork storm stream sugar summer summit
sunrise swallow swan tangerine teal tempest thicket thistle thunder tide tiger timber topaz torch
trail trout tulip tundra turtle twilight umber valley vanilla velvet violet walnut water wave
wheat whistle willow wind winter wolf wood wren yarrow zebra zenith zephyr
"""
_WORDS = tuple(_TEXT.split())

_PLAIN = re.compile(r"[^a-z0-9-]+")
_MOST = 32


def new_name(taken: Collection[str]) -> str:
    """A word that is not among ``taken``; two of them where all are."""
    chance = random.SystemRandom()
    free = sorted(set(_WORDS) - set(taken))
    if free:
        return chance.choice(free)
    while (name := f"{chance.choice(_WORDS)}-{chance.choice(_WORDS)}") in taken:
        pass
    return name


def numbered(name: str, number: int) -> str:
    """The ``number``-th cluster of a sweep, which is called ``name``: ``oak-3``."""
    end = f"-{number}"
    return name[: _MOST - len(end)].rstrip("-") + end


def owner_name(user: str) -> str:
    r"""A user's name as an owner's: lower-case letters, digits and hyphens.

    >>> owner_name("DOMAIN\\Ada Lovelace")
    'ada-lovelace'
    """
    plain = _PLAIN.sub("-", user.rpartition("\\")[2].lower()).strip("-")
    return plain[:_MOST].rstrip("-") or "somebody"
