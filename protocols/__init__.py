"""What collaboration is: protocols, the runner that plays them, and the engines that make tokens.

This package knows nothing about pages, plots or data frames. Importing it is cheap: torch and the
other heavy libraries are imported by the functions that need them.
"""

from protocols.core.torch_setup import hide_broken_torch_extras, let_idle_threads_sleep

hide_broken_torch_extras()
let_idle_threads_sleep()
