"""The toy tokenizer's vocabulary: the words of the world, of storyboards and of the composer.

The order is part of the trained weights: add words at the end, never move one.
"""

from __future__ import annotations

_TEXT = """
. a an the and of in on at to from with without by over under across through into onto around
behind before after while as is are was be its it he she him her his they them their we this
that these there then now again still yet not no very more less much some all both each other
another one two three first second last next same together alone away back forth out off up down
near far between beside above below along toward towards past until who whose which where when
left right upward upwards downward downwards leftward leftwards rightward rightwards hand side
sides top bottom middle centre center edge corner foreground background frame picture screen
view views shot shots close closeup medium long full wide extreme eye level high low angle front
facing aerial overhead overlooking point shoulder camera static fixed locked steady handheld
holds hold pan pans panning tilt tilts tilting zoom zooms zooming push pushes pull pulls place
dolly dollies track tracks tracking crane orbit roll rolls rolling move moves moving motion
motionless slow slowly fast quickly quick gentle gently smooth smoothly steadily softly lightly
circle circles circular disc disk ball dot round square squares box block cube triangle
triangles triangular pyramid star stars starry heart hearts shape shapes diamond cross ring
crescent moon subject subjects thing object figure body red scarlet crimson orange amber yellow
golden gold green emerald lime blue azure navy cobalt purple violet magenta pink rose rosy white
pale snow snowy black dark grey gray brown teal cyan turquoise silver bright light lit deep
vivid dim colour color coloured colored small little tiny large big huge great giant mid sized
size go goes going drift drifts drifting slide slides sliding glide glides gliding travel
travels travelling float floats floating fly flies flying run runs running walk walks walking
wander wanders wandering rise rises rising climb climbs climbing ascend ascends ascending lift
lifts fall falls falling sink sinks sinking descend descends descending drop drops dropping rest
rests resting stay stays staying wait waits waiting stand stands standing sit sits sitting sleep
sleeps sleeping bounce bounces bouncing hop hops hopping jump jumps jumping leap leaps leaping
dance dances dancing spin spins turn turns turning swing swings loop loops looping circling
orbits orbiting rings grow grows growing swell swells swelling expand expands gets larger bigger
shrink shrinks shrinking dwindles smaller shrank change changes changing swap swaps swapping
trade trades trading exchange exchanges exchanging places placed position positions pass passes
passing meet meets meeting come comes coming arrive arrives leave leaves leaving stop stops
stopped stopping begin begins start starts follow follows following return returns reach reaches
crosses crossing sway sways pulse pulses breathe breathes hover hovers hovering meadow field
grass grassy flower flowers hill hills lawn desert sand sandy dune dunes cactus sea ocean water
wave waves lake shore beach coast island boat city town street streets skyline building
buildings window windows tower towers house houses roof roofs urban snowfield ice icy winter
mountain mountains peak peaks slope slopes forest tree trees wood woods sky cloud clouds cloudy
ground land landscape horizon scene scenery setting environment day daylight daytime noon midday
morning sun sunny sunlight sunshine sunlit dusk sunset evening twilight warm glow glowing hour
dawn sunrise night nighttime midnight moonlight moonlit darkness cold cool lighting lights lamp
lamps shadow shadows soft hard clear haze hazy mist misty fog foggy rain rainy storm wind windy
style film animation animated cartoon flat simple clean graphic toy minimal illustration drawing
painted paint paper cut looks look looking happy happily sad sadly surprised surprise fear angry
joy joyful calm calmly neutral expression smiling smile quiet quietly lonely playful playfully
proud shy curious says say saying speaks speaking talks man woman girl boy child people person
animal bird cat dog swan fish horse video clip blurred blurry noisy noise grainy artifacts
watermark text subtitles logo distorted deformed quality poor worst bad ugly jpeg compression
flicker flickering flickers jitter extra limbs faces fingers hands frozen overexposed
underexposed washed oversaturated empty blank messy cluttered duplicate duplicated crowd
backwards seen shown visible appears appear has have having against beneath inside outside late
early end beginning half way whole entire every everything nothing something time upon tall
short thin thick open opens closed closes onwards forward forwards backward sideways sweeps
sweep sweeping keeper lighthouse stair stairs oil flame lens door cliff bread beam fire boats
"""

WORDS: tuple[str, ...] = tuple(_TEXT.split())
