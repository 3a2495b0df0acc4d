"""Studies without runs that train what they need: policies, and models of the dynamics.

``<study>.py`` has ``run(sizes, seed)``, the part of the study's frame that one seed gives; a seed is
a job of its own. How large everything is at each scale stands in `learned.sizes`.
"""
