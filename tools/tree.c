/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice tree: draw the lineage. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "array.h"
#include "command.h"
#include "escaped_name.h"
#include "lineage.h"
#include "row.h"
#include "size.h"
#include "snapshot.h"
#include "target.h"
#include "util.h"

static const struct field fields[] = {
        {"version", "", FIELD_COUNT, 0}, {"parent", "", FIELD_COUNT, 0},
        {"created", "", FIELD_TIME, 0},  {"states", "", FIELD_NAME, 0},
        {"joins", "", FIELD_NAME, 0},    {0},
};

static const char *created_of(const struct lineage *lineage,
                              const struct lineage_node *node)
{
	return node->states ? lineage->states[node->first].created
	                    : node->created;
}

/* ---- Text --------------------------------------------------------------- */

/* A node whose children are being drawn. */
struct frame {
	int64_t node;
	int64_t kid; /* the next child to draw, or NO_NODE */
	uint32_t column;
};

static void print_columns(uint32_t columns)
{
	while (columns--)
		fputs("| ", stdout);
}

static void print_name(const char *escaped)
{
	json_auto_t *text = json_string(escaped);
	char name[NAME_LEN_MAX * 2 + 2];

	if (!name_unescape(text, name, sizeof(name)))
		fputs(name, stdout);
}

static void print_node(const struct lineage *lineage,
                       const struct lineage_node *node, uint32_t column)
{
	const struct lineage_state *s = &lineage->states[node->first];
	char size[SIZE_TEXT_MAX], frees[SIZE_TEXT_MAX];

	print_columns(column);
	fputs(node->states ? "* " : "o ", stdout);
	for (size_t i = 0; i < node->states; i++) {
		fputs(i ? ", " : "", stdout);
		print_name(s[i].name);
	}
	printf("%s%.19sZ", node->states ? "  " : "", created_of(lineage, node));
	if (node->states) {
		size_format(s->bytes, size);
		size_format(s->frees, frees);
		printf("  %s, frees %s", size, frees);
	}
	fputc('\n', stdout);
}

/* Print the joins of a node, below it. */
static void print_joins(const struct lineage *lineage,
                        const struct lineage_node *node, uint32_t column)
{
	size_t count;
	const struct lineage_join *joins = lineage_joins(lineage, node, &count);

	for (size_t i = 0; i < count; i++) {
		print_columns(column);
		fputs("|\\ ", stdout);
		print_name(joins[i].name);
		printf("  %.19sZ\n", joins[i].time);
	}
}

/*
 * Draw a tree, with the descendants of each node above it.  The first child is
 * in the node's own column, each of the others in the next one, which then
 * ends.
 */
static int draw(const struct lineage *lineage, int64_t root)
{
	const struct lineage_node *nodes = lineage->nodes;
	_cleanup_free_ struct frame *stack = NULL;
	size_t len = 0, capacity = 0;
	struct frame *frame = array_add(&stack, &len, &capacity);

	if (!frame)
		return -ENOMEM;
	*frame = (struct frame){root, nodes[root].kids, 0};
	while (len && !ferror(stdout)) {
		struct frame top = stack[len - 1];
		int64_t kid = top.kid;

		if (kid == NO_NODE) {
			const struct lineage_node *node = &nodes[top.node];

			print_node(lineage, node, top.column);
			print_joins(lineage, node, top.column);
			len--;
			if (len && nodes[node->up].kids != top.node) {
				print_columns(top.column - 1);
				fputs("|/\n", stdout);
			}
			continue;
		}
		stack[len - 1].kid = nodes[kid].next_kid;
		frame = array_add(&stack, &len, &capacity);
		if (!frame)
			return -ENOMEM;
		*frame = (struct frame){kid, nodes[kid].kids,
		                        top.column +
		                                (nodes[top.node].kids != kid)};
	}
	return 0;
}

static int print_text(const struct lineage *lineage)
{
	bool any = false;
	int r = 0;

	for (size_t i = 0; !r && i < lineage->nodes_len; i++) {
		if (lineage->nodes[i].up != NO_NODE ||
		    lineage->nodes[i].left_out)
			continue;
		if (any)
			fputc('\n', stdout);
		any = true;
		r = draw(lineage, (int64_t)i);
	}
	return r;
}

/* ---- JSON and DOT ------------------------------------------------------- */

static json_t *states_json(const struct lineage *lineage,
                           const struct lineage_node *node)
{
	json_t *states = json_array();

	for (size_t i = 0; i < node->states; i++) {
		const struct lineage_state *s =
		        &lineage->states[node->first + i];

		json_array_append_new(
		        states,
		        json_pack("{s:s, s:b, s:s, s:I, s:I}", "name", s->name,
		                  "snapshot", s->is_snapshot, "created",
		                  s->created, "bytes", (json_int_t)s->bytes,
		                  "exclusive", (json_int_t)s->frees));
	}
	return states;
}

static json_t *joins_json(const struct lineage *lineage,
                          const struct lineage_node *node)
{
	json_t *array = json_array();
	size_t count;
	const struct lineage_join *joins = lineage_joins(lineage, node, &count);

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array,
		                      json_pack("{s:s, s:I, s:s}", "name",
		                                joins[i].name, "version",
		                                (json_int_t)joins[i].version,
		                                "time", joins[i].time));
	return array;
}

static void print_json(const struct lineage *lineage, struct printer *printer)
{
	printer_begin(printer);
	for (size_t i = 0; i < lineage->nodes_len && !ferror(stdout); i++) {
		const struct lineage_node *node = &lineage->nodes[i];
		json_auto_t *row = NULL;

		if (node->left_out)
			continue;
		row = json_pack("{s:I, s:o, s:s, s:o, s:o}", "version",
		                (json_int_t)node->version, "parent",
		                node->parent
		                        ? json_integer((json_int_t)node->parent)
		                        : json_null(),
		                "created", created_of(lineage, node), "states",
		                states_json(lineage, node), "joins",
		                joins_json(lineage, node));
		printer_row(printer, row);
	}
	printer_end(printer);
}

/* Print a string with the escapes of DOT. */
static void print_quoted(const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', stdout);
		fputc(*text, stdout);
	}
}

static void print_dot_node(const struct lineage *lineage,
                           const struct lineage_node *node)
{
	const struct lineage_state *s = &lineage->states[node->first];
	const struct lineage_join *joins;
	bool has_fork = false;
	size_t count;

	printf("\tv%llu [", (unsigned long long)node->version);
	if (!node->states)
		fputs("shape=point", stdout);
	else
		fputs("label=\"", stdout);
	for (size_t i = 0; i < node->states; i++) {
		print_quoted(s[i].name);
		fputs("\\n", stdout);
		has_fork |= !s[i].is_snapshot;
	}
	if (node->states)
		printf("%.19sZ\"%s", s->created,
		       has_fork ? ", style=bold" : "");
	fputs("];\n", stdout);
	if (node->parent)
		printf("\tv%llu -> v%llu;\n", (unsigned long long)node->version,
		       (unsigned long long)node->parent);
	joins = lineage_joins(lineage, node, &count);
	for (size_t i = 0; i < count; i++)
		printf("\tv%llu -> v%llu [style=dashed, label=\"join\"];\n",
		       (unsigned long long)node->version,
		       (unsigned long long)joins[i].version);
}

static void print_dot(const struct lineage *lineage)
{
	fputs("digraph lineage {\n\trankdir=BT;\n\tnode [shape=box];\n",
	      stdout);
	for (size_t i = 0; i < lineage->nodes_len && !ferror(stdout); i++)
		if (!lineage->nodes[i].left_out)
			print_dot_node(lineage, &lineage->nodes[i]);
	fputs("}\n", stdout);
}

/* ---- The verb ----------------------------------------------------------- */

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_(lineage_release) struct lineage lineage = {0};
	struct printer printer = {.fields = fields};
	const char *store = NULL;
	bool dot = false;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"dot", .flag = &dot},
	        {"json", .flag = &printer.json, .value = &printer.form},
	        {0},
	};

	if (!command_parse(self, options, 0, 0, &argc, &argv, &r) ||
	    !printer_check(&printer, self, &r))
		return r;
	if (dot && printer.json)
		return command_usage(self, "--dot and --json exclude each "
		                           "other");
	r = target_init(&target, store);
	if (!r)
		r = target_store(&target);
	if (!r)
		r = lineage_read(target.store, &lineage);
	if (r)
		return r;
	if (printer.json) {
		print_json(&lineage, &printer);
	} else if (dot) {
		print_dot(&lineage);
	} else if (print_text(&lineage)) {
		complain("out of memory");
		r = EXIT_FAILED;
	}
	return finish_output(r);
}

const struct command command_tree = {
        .name = "tree",
        .args = "[-s STORE] [--dot | --json[=lines]]",
        .summary = "Draw the lineage of all states",
        .help = "Each state stands above the one that it was made from, with "
                "the time when it\n"
                "was made, the size of its files, and the space that deleting "
                "it would free.\n"
                "An 'o' is a version that no state has any more.  A line with "
                "|\\ names a state\n"
                "that was joined into the one above.\n"
                "\n"
                "      --dot          as a graph for dot(1)\n"
                "      --json[=lines] an array of objects, or an object a "
                "line; parents first\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
