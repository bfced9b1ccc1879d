# SPDX-License-Identifier: LGPL-2.1-or-later
# Bash completion of git-coppice-worktree(1), for that of git to load.

_git_coppice_worktree() {
	local command=${words[__git_cmd_idx + 1]-}

	case $command,$cur in
	add,-*) __gitcomp '-b' ;;
	add,*) __git_complete_refs ;;
	list,-*) __gitcomp '--porcelain' ;;
	remove,-*) __gitcomp '--force' ;;
	remove,*) __gitcomp_nl "$(coppice list 2>/dev/null)" ;;
	*) __gitcomp 'add list remove' ;;
	esac
}
