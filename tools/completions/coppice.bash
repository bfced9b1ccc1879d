# SPDX-License-Identifier: LGPL-2.1-or-later
# Bash completion of coppice(1).  Verbs and options are read from the command's
# own help, so that there is one list of them.

_coppice_states() {
	local IFS=$'\n' at=()
	[[ $1 ]] && at=(-s "$1")
	# shellcheck disable=SC2207
	COMPREPLY+=($(compgen -W "$(coppice list "${at[@]}" 2>/dev/null)" \
		-- "$cur"))
}

_coppice_deleted() {
	local IFS=$'\n' at=()
	[[ $1 ]] && at=(-s "$1")
	# shellcheck disable=SC2207
	COMPREPLY+=($(compgen -W "$(coppice undelete "${at[@]}" --list \
		--json=lines 2>/dev/null |
		sed -n 's/^{"name": *"\([^"]*\)".*/\1/p')" -- "$cur"))
}

_coppice() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local verb='' store='' word i

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		-s | --store) store=${COMP_WORDS[++i]} ;;
		-*) ;;
		*) [[ $verb ]] || verb=$word ;;
		esac
	done
	if [[ $prev == -s || $prev == --store ]]; then
		compopt -o dirnames
		return
	fi
	if [[ ! $verb || ($verb == help && $prev == help) ]]; then
		# shellcheck disable=SC2207
		COMPREPLY=($(compgen -W "help $(coppice help 2>/dev/null |
			sed -n 's/^  \([a-z]\+\)  .*/\1/p')" -- "$cur"))
		return
	fi
	if [[ $cur == -* ]]; then
		# shellcheck disable=SC2207
		COMPREPLY=($(compgen -W "--help $(coppice help "$verb" \
			2>/dev/null | grep '^ *-' |
			grep -o -- '--[a-z-]\+')" -- "$cur"))
		return
	fi
	case $verb in
	undelete) _coppice_deleted "$store" ;;
	fork | snap | list | show | rename | rm | default | swap | clone | join | refresh | restore | du | diff | cat | ls | manifest | log | find)
		_coppice_states "$store"
		compopt -o filenames -o default
		;;
	import | export)
		[[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD - 2]}
		case $prev in
		--from | --to) compopt -o dirnames ;;
		*)
			_coppice_states "$store"
			compopt -o filenames -o default
			;;
		esac
		;;
	run)
		[[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD - 2]}
		case $prev in
		--from | --into) _coppice_states "$store" ;;
		# shellcheck disable=SC2207
		*) COMPREPLY+=($(compgen -c -- "$cur")) ;;
		esac
		compopt -o filenames -o default
		;;
	set | get | unset | hold | holds | release | prune)
		_coppice_states "$store"
		compopt -o filenames -o default
		;;
	batch) compopt -o default ;;
	init | mount | umount | check | copy | compact) compopt -o dirnames ;;
	esac
}
complete -F _coppice coppice
