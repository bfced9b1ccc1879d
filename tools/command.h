/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs of the `coppice` command, and helpers that they share.  Each verb
 * is described once, in its own file; coppice.c has the table of all verbs.
 */
#ifndef COPPICE_COMMAND_H
#define COPPICE_COMMAND_H

#include <stdbool.h>
#include <sys/types.h>

enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_DAMAGE = 3, /* damaged data were found */
	/* exit codes of comparisons */
	EXIT_SAME = 0,
	EXIT_DIFFERS = 1,
	EXIT_TROUBLE = 2,
};

struct command {
	const char *name;
	const char *args;    /* the usage line after the name */
	const char *summary; /* one line, no full stop */
	const char *help;    /* the rest: paragraphs and options, or "" */
	bool runs_program;   /* options end before the first argument */
	/* argv[0] is the verb; returns an exit code */
	int (*run)(const struct command *self, int argc, char **argv);
};

extern const struct command command_init, command_mount, command_umount,
        command_fork, command_snap, command_list, command_show, command_rename,
        command_rm, command_default, command_sync, command_resize,
        command_check, command_copy, command_swap, command_clone,
        command_restore, command_du, command_compact, command_tree,
        command_diff, command_cat, command_ls, command_manifest, command_join,
        command_refresh, command_log, command_set, command_get, command_unset,
        command_hold, command_release, command_holds, command_find, command_run;

extern const struct command command_prune, command_gc, command_undelete,
        command_batch, command_import, command_export;

/* The `-s STORE` before the verb, or NULL.  Only for target.c. */
extern const char *command_store;

/*
 * The arguments of an option that may be given several times, or of several
 * options whose order matters.
 */
enum { OPTION_LIST_MAX = 64 };
struct option_list {
	const char *at[OPTION_LIST_MAX];
	const char *option[OPTION_LIST_MAX]; /* name of the option */
	int len;
};

/* An option of a verb.  A table of them ends with a NULL name. */
struct command_option {
	const char *name; /* without its dashes */
	int letter;       /* of the short form; 0: none */
	bool *flag;       /* set to true if the option is given */
	const char *
	        *value; /* set to the option's argument.  With `flag`, too, the
	                   argument is optional: --NAME[=VALUE]; no letter */
	struct option_list *list; /* the argument is added to it */
};

/*
 * Parse the verb's options, and --help.  Return true, with the `least` to
 * `most` remaining arguments in *argc and *argv; or false, after printing help
 * or a usage message: the verb ends with the exit code *ret_code.
 */
bool command_parse(const struct command *self,
                   const struct command_option *options, int least, int most,
                   int *argc, char ***argv, int *ret_code);

/* Print the verb's help on standard output.  Return the exit code. */
int command_help(const struct command *self);
/*
 * Print the verb's usage line on standard error, after the message (may be
 * NULL).  Return the exit code.
 */
int command_usage(const struct command *self, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* Print "coppice: MESSAGE" and a newline on standard error. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Flush standard output.  Return `code`, or complain and return an exit code if
 * not everything could be written.
 */
int finish_output(int code);

/* Return the mode of a new directory under this process's umask. */
mode_t directory_mode(void);

/* mount.coppice, as mount(8) calls it, with mount(8)'s exit codes. */
int mount_helper(int argc, char **argv);
/* umount.fuse.coppice, as umount(8) calls it, with mount(8)'s exit codes. */
int umount_helper(int argc, char **argv);

/* Exit codes of mount(8) and its helpers. */
enum { MOUNT_USAGE = 1, MOUNT_FAILED = 32 };

#endif
