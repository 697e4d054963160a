"""Check that the libraries of a wheel hold nothing of the machine that built it: python check_wheel.py WHEEL PATH...

Beside what auditwheel checks (which symbols of which libraries are needed): a library exports its init function alone, looks for
others in no folder of its own, needs the C library alone, and holds none of the paths.
"""

import io
import sys
import zipfile

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

# The C library in its parts.
_NEEDED = ("libc.so", "libm.so", "libpthread.so", "libdl.so", "librt.so", "ld-linux")


def faults(name: str, content: bytes, paths: list[str]) -> list[str]:
    """What is wrong with one library."""
    elf = ELFFile(io.BytesIO(content))
    found = [f"holds the path {path}" for path in paths if path.encode() in content]
    exported = {
        symbol.name
        for symbol in elf.get_section_by_name(".dynsym").iter_symbols()
        if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] != "STB_LOCAL"
    }
    wanted = {f"PyInit_{name.split('/')[-1].split('.')[0]}"}
    if exported != wanted:
        found.append(f"exports {sorted(exported ^ wanted)}")
    for section in elf.iter_sections():
        if isinstance(section, DynamicSection):
            for tag in section.iter_tags():
                if tag.entry.d_tag in ("DT_RPATH", "DT_RUNPATH"):
                    found.append(f"has the path {getattr(tag, 'rpath', None) or tag.runpath} to look for libraries in")
                elif tag.entry.d_tag == "DT_NEEDED" and not tag.needed.startswith(_NEEDED):
                    found.append(f"needs {tag.needed}")
    return [f"{name} {fault}" for fault in found]


def main() -> None:
    wheel, *paths = (argument for argument in sys.argv[1:] if argument != "/")
    found, count = [], 0
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if ".so" in name:
                count += 1
                found += faults(name, archive.read(name), paths)
    if found or not count:
        sys.exit("\n".join(found) or f"{wheel} holds no library")


if __name__ == "__main__":
    main()
