"""Functions of Keras' classes are exchanged for a while, to see the calls of layers: by one thread at a time."""

from __future__ import annotations

import threading

# Held for as long as a function of a Keras class is another one: what a second thread put back would stay exchanged
PATCHING = threading.RLock()
