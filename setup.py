# SPDX-License-Identifier: AGPL-3.0-or-later
"""Compiles what is not Python, and puts the shipped descriptors into the wheel. Metadata is in pyproject.toml.

In:  ftos/_native/launch.pyx with `*_impl.c` and `plan_*.c`, one source for each of PROGRAMS, osbases/, rootfs-overlay/.
Out: the extension ftos._native.launch and the static programs beside it; in a wheel also ftos/share.
A warning of the C compiler is an error. C of ours is compiled more strictly than what Cython generates.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

NATIVE = Path("ftos/_native")
PROGRAMS = {"ftos-init": "init.c"}
"""Static programs that run inside a container, where no libc of the host is."""

WARNINGS = ["-Wall", "-Wextra", "-Werror"]
OWN_WARNINGS = [*WARNINGS, "-Wshadow", "-Wvla", "-Wstrict-prototypes", "-Wmissing-prototypes"]
GENERATED_WARNINGS = [*WARNINGS, "-Wno-unused-parameter", "-Wno-missing-field-initializers", "-Wno-cast-function-type"]
OWN_FLAGS = ["-std=gnu11", "-O2", "-fno-strict-aliasing", "-fvisibility=hidden", *OWN_WARNINGS]
PROGRAM_FLAGS = [
    *("-static", "-nostdlib", "-ffreestanding", "-fno-builtin", "-fno-pie", "-fno-stack-protector"),
    *("-fno-asynchronous-unwind-tables", "-ffunction-sections", "-s"),
    *("-Wl,--build-id=none", "-Wl,--gc-sections", "-Wl,-z,noexecstack", "-Wl,--fatal-warnings"),
]


class BuildNative(build_ext):
    """The extension, from strictly compiled C and Cython's C; then the static programs."""

    def build_extension(self, ext: Extension) -> None:
        sources = sorted({*NATIVE.glob("*_impl.c"), *NATIVE.glob("plan_*.c")})
        ext.extra_objects = self.compiler.compile(
            [str(source) for source in sources], output_dir=self.build_temp, extra_postargs=OWN_FLAGS
        )
        super().build_extension(ext)

    def run(self) -> None:
        super().run()
        compiler = shlex.split(os.environ.get("CC", "gcc"))
        for program, output in zip(PROGRAMS, self.programs(), strict=True):
            Path(output).parent.mkdir(parents=True, exist_ok=True)
            source = str(NATIVE / PROGRAMS[program])
            self.spawn([*compiler, *OWN_FLAGS, *PROGRAM_FLAGS, "-o", output, source])

    def programs(self) -> list[str]:
        root = Path() if self.inplace else Path(self.build_lib)
        return [str(root / NATIVE / program) for program in PROGRAMS]

    def get_outputs(self) -> list[str]:
        return [*super().get_outputs(), *self.programs()]


class BuildPython(build_py):
    """The modules; in a wheel also the shipped descriptors as ftos/share, where `ftos.host.places` looks for them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        share = Path(self.build_lib) / "ftos/share"
        shutil.copytree("osbases", share / "osbases", dirs_exist_ok=True)
        shutil.copytree("rootfs-overlay/usr/share/ftos", share, dirs_exist_ok=True)


setup(
    cmdclass={"build_ext": BuildNative, "build_py": BuildPython},
    ext_modules=cythonize(
        [
            Extension(
                "ftos._native.launch",
                [str(NATIVE / "launch.pyx")],
                depends=[str(file) for file in sorted(NATIVE.glob("*.[ch]"))],
                extra_compile_args=["-O2", "-fno-strict-aliasing", *GENERATED_WARNINGS],
            )
        ],
        build_dir="build/cython",
        quiet=True,
        compiler_directives={"language_level": "3"},
    ),
)
