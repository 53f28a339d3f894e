# SPDX-License-Identifier: AGPL-3.0-or-later
"""One module a verb; the verb of a group is `GROUP_VERB`. Each has its click command in `command`."""
