// SPDX-License-Identifier: GPL-2.0-or-later
// Tables on standard output, over libsmartcols: as wide as they must be, and cut to the terminal.
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct {
    const char *heading;
    bool right;      // figures
    bool may_shrink; // cut where the terminal is narrow
    bool may_wrap;   // goes on in the next line there
} TableColumn;

typedef struct Table Table;

Table *table_new(const TableColumn *columns, gsize count);
void table_free(Table *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Table, table_free)
// One text for each column; NULL is shown as "-". Copies.
void table_add(Table *table, ...);
void table_print(Table *table); // headings even where there are no rows
