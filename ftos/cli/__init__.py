# SPDX-License-Identifier: AGPL-3.0-or-later
"""The `ftos` command: words in, words out.

Everything that decides or acts is in the layers below; here are only arguments, questions, tables and messages.
A verb is a module of `ftos.cli.verbs` with a click command named `command`; it is imported when its verb is used.
Such modules import only click and light parts of `ftos.cli` at the top, and what the verb works with inside its
function, so that `ftos --help` and the completion of names stay fast on a phone.
"""
