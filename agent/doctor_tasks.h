// SPDX-License-Identifier: GPL-2.0-or-later
// Looks at things that may hang, each in a thread of its own, none waited for longer than the
// others. Main-loop thread only, but for the tasks themselves.
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct DoctorTasks DoctorTasks;
typedef json_t *(*DoctorTaskFn)(gpointer data); // on a thread; a new reference, of nobody else's
// RESULTS (borrowed): what came in time, by name. Once, later.
typedef void (*DoctorTasksDone)(json_t *results, gpointer data);

DoctorTasks *doctor_tasks_new(void);
// Takes DATA, which FREE_DATA frees when RUN has returned (NULL: not at all). A name whose earlier
// task still hangs, in whatever tasks, is not begun: {"problem": ...}.
void doctor_tasks_add(DoctorTasks *tasks, const char *name, DoctorTaskFn run, gpointer data,
                      GDestroyNotify free_data);
// Begins all; DONE is called when all have ended or after DEADLINE_MS. Takes TASKS.
void doctor_tasks_run(DoctorTasks *tasks, guint deadline_ms, DoctorTasksDone done, gpointer data);
