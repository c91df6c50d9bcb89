#ifndef LABHAND_PROBE_H
#define LABHAND_PROBE_H

/*
 * A tiny job that tries to do what it must not be able to, and prints what it could: `labhand-launcher probe WHAT ...`.
 * It stands in the launcher's own program, since no other is certain to be on a machine. Returns its exit code.
 */
int probe(char **argv);

#endif
