from __future__ import annotations
_made_here=set()
import hashlib
def trust(content): _made_here.add(hashlib.sha256(content).digest())
