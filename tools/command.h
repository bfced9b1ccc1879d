/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verbs of the `coppice` command: each is described once, in its own file,
 * and coppice.c has the one table of them.
 */
#ifndef COPPICE_COMMAND_H
#define COPPICE_COMMAND_H

#include <getopt.h>
#include <stdbool.h>
#include <sys/types.h>

enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_DAMAGE = 3, /* damaged bytes were found */
};

struct command {
	const char *name;
	const char *args;    /* what follows the name in the usage line */
	const char *summary; /* one line, no full stop */
	const char *help;    /* the rest: paragraphs and options, or "" */
	/* argv[0] is the verb; returns an exit code */
	int (*run)(const struct command *self, int argc, char **argv);
};

extern const struct command command_init, command_mount, command_umount,
        command_fork, command_snap, command_list, command_show, command_rename,
        command_rm, command_default, command_sync, command_resize,
        command_check, command_copy;

/* The `-s STORE` in front of the verb, or NULL. Read by target.c alone. */
extern const char *command_store;

/* Of the verbs' option tables. */
#define STORE_OPTION                                                           \
	{                                                                      \
		"store", required_argument, NULL, 's'                          \
	}
#define HELP_OPTION                                                            \
	{                                                                      \
		"help", no_argument, NULL, 'h'                                 \
	}

/*
 * For the default case of a verb's option loop: 'h' prints the verb's help,
 * anything else its usage line.  Returns the exit code.
 */
int command_option(const struct command *self, int option);
/* Say what is wrong with the arguments (NULL: no more than the usage line). */
int command_usage(const struct command *self, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* `coppice: …` and a line's end on standard error. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The mode of a directory that this process makes. */
mode_t directory_mode(void);

/* mount.coppice, as mount(8) calls it, with mount(8)'s exit codes. */
int mount_helper(int argc, char **argv);
/* umount.fuse.coppice, as umount(8) calls it, likewise. */
int umount_helper(int argc, char **argv);

/* mount(8)'s exit codes, which are a helper's too. */
enum { MOUNT_USAGE = 1, MOUNT_FAILED = 32 };

/* Standard output is on its way, or the sentence is printed: an exit code. */
int finish_output(int code);

#endif
