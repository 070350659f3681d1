// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command/table.h"

#include "migrate/command/output.h"

#include <libsmartcols.h>
#include <stdarg.h>
#include <stdio.h>

struct Table {
    struct libscols_table *table;
    const TableColumn *columns; // borrowed: the caller's constant
    gsize count;
    gsize rows;
};

Table *table_new(const TableColumn *columns, gsize count)
{
    Table *table = g_new0(Table, 1);
    table->columns = columns;
    table->count = count;
    table->table = scols_new_table();
    scols_table_set_column_separator(table->table, "  ");
    for (gsize i = 0; i < count; i++) {
        int flags = (columns[i].right ? SCOLS_FL_RIGHT : 0) |
                    (columns[i].may_shrink ? SCOLS_FL_TRUNC : 0) |
                    (columns[i].may_wrap ? SCOLS_FL_WRAP : 0);
        scols_table_new_column(table->table, columns[i].heading, 0, flags);
    }
    return table;
}

void table_free(Table *table)
{
    if (table == NULL)
        return;
    scols_unref_table(table->table);
    g_free(table);
}

void table_add(Table *table, ...)
{
    struct libscols_line *line = scols_table_new_line(table->table, NULL);
    va_list texts;
    va_start(texts, table);
    for (gsize i = 0; i < table->count; i++) {
        const char *text = va_arg(texts, const char *);
        g_autofree char *clean = output_clean(text != NULL ? text : "-");
        scols_line_set_data(line, i, clean);
    }
    va_end(texts);
    table->rows++;
}

void table_print(Table *table)
{
    if (table->rows > 0) {
        scols_print_table(table->table);
        return;
    }
    // smartcols prints nothing at all for a table without rows.
    for (gsize i = 0; i < table->count; i++)
        printf("%s%s", i > 0 ? "  " : "", table->columns[i].heading);
    putchar('\n');
}
