/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "command.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
	OPTIONS_MAX = 24, /* most options of a verb, besides --help */
	LONG_FIRST = 256, /* getopt_long()'s result for the first option */
};

void complain(const char *format, ...)
{
	va_list ap;

	/* Keep the order of standard output and standard error. */
	fflush(stdout);
	fputs("coppice: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int finish_output(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	complain("cannot write to standard output: %s", strerror(errno));
	return code == EXIT_DONE ? EXIT_FAILED : code;
}

static void print_usage(const struct command *self, FILE *to)
{
	fprintf(to, "Usage: coppice %s%s%s\n", self->name,
	        *self->args ? " " : "", self->args);
}

int command_help(const struct command *self)
{
	print_usage(self, stdout);
	printf("\n%s.\n", self->summary);
	if (*self->help)
		printf("\n%s", self->help);
	return finish_output(EXIT_DONE);
}

int command_usage(const struct command *self, const char *format, ...)
{
	va_list ap;

	if (format) {
		fprintf(stderr, "coppice %s: ", self->name);
		va_start(ap, format);
		vfprintf(stderr, format, ap);
		va_end(ap);
		fputc('\n', stderr);
	}
	print_usage(self, stderr);
	fprintf(stderr, "See 'coppice help %s'.\n", self->name);
	return EXIT_USAGE;
}

/* ---- Options ------------------------------------------------------------- */

/* The tables of getopt_long() for a verb's options. */
struct getopt_tables {
	char letters[2 * OPTIONS_MAX + 3];
	struct option options[OPTIONS_MAX + 2];
};

static void tables_init(struct getopt_tables *tables,
                        const struct command *self,
                        const struct command_option *options)
{
	char *letter = tables->letters;
	int count = 0;

	if (self->runs_program)
		*letter++ = '+';
	for (; options[count].name && count < OPTIONS_MAX; count++) {
		const struct command_option *o = &options[count];

		tables->options[count] =
		        (struct option){o->name,
		                        !o->value && !o->list ? no_argument
		                        : !o->flag ? required_argument
		                                   : optional_argument,
		                        NULL, LONG_FIRST + count};
		if (!o->letter)
			continue;
		*letter++ = (char)o->letter;
		if (o->value || o->list)
			*letter++ = ':';
	}
	*letter++ = 'h';
	*letter = 0;
	tables->options[count] =
	        (struct option){"help", no_argument, NULL, 'h'};
	tables->options[count + 1] = (struct option){0};
}

/* Return the option for getopt_long()'s result; NULL: an unknown one. */
static const struct command_option *
find_option(const struct command_option *options, int c)
{
	if (c >= LONG_FIRST)
		return &options[c - LONG_FIRST];
	for (; options->name; options++) {
		if (options->letter == c)
			return options;
	}
	return NULL;
}

/* Read the options.  False: *ret_code is the exit status. */
static bool options_parse(const struct command *self,
                          const struct command_option *options, int argc,
                          char **argv, int *ret_code)
{
	struct getopt_tables tables;
	int c;

	tables_init(&tables, self, options);
	while ((c = getopt_long(argc, argv, tables.letters, tables.options,
	                        NULL)) != -1) {
		const struct command_option *o = find_option(options, c);

		if (!o) {
			*ret_code = c == 'h' ? command_help(self)
			                     : command_usage(self, NULL);
			return false;
		}
		if (o->list && o->list->len == OPTION_LIST_MAX) {
			*ret_code = command_usage(
			        self, "--%s is given more than %d times",
			        o->name, OPTION_LIST_MAX);
			return false;
		}
		if (o->list) {
			o->list->option[o->list->len] = o->name;
			o->list->at[o->list->len++] = optarg;
		} else if (o->value) {
			*o->value = optarg;
		}
		if (o->flag)
			*o->flag = true;
	}
	return true;
}

bool command_parse(const struct command *self,
                   const struct command_option *options, int least, int most,
                   int *argc, char ***argv, int *ret_code)
{
	char name[64], *own = **argv;
	bool parsed;

	/* Messages of getopt_long() begin with this. */
	snprintf(name, sizeof(name), "coppice %s", self->name);
	**argv = name;
	parsed = options_parse(self, options, *argc, *argv, ret_code);
	**argv = own;
	if (!parsed)
		return false;
	*argc -= optind;
	*argv += optind;
	if (*argc >= least && *argc <= most)
		return true;
	*ret_code = command_usage(self, NULL);
	return false;
}
