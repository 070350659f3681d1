# SPDX-License-Identifier: GPL-2.0-or-later
"""What `vmlab up` decided, for the daemon and for the verbs that come later."""
import json
from dataclasses import asdict, dataclass


@dataclass
class Settings:
    lab: str
    release: str
    image: str  # the folder with root.img, vmlinux, initrd.img
    guest: str  # the folder that build-guest filled
    accelerator: str  # "kvm" or "tcg": what the nodes themselves run under
    cpus: int
    memory_mib: int
    machine_ids: dict

    def names(self):
        return list(self.machine_ids)

    def save(self, places):
        places.settings.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, places):
        return cls(**json.loads(places.settings.read_text(encoding="utf-8")))
