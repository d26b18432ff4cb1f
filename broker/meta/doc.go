// Package meta is the metadata group's state machine: which nodes there are, which topics, where each partition's
// replicas belong, how topics are configured, and which ids were given out.
//
// Every node must know the same topics under the same ids, after any crash and in any order of joining, and the write
// path must be able to ask "which group is partition 3 of this topic" millions of times a second. So the state changes
// only by commands from the group's log, and readers see it as a Catalog: a value that is never modified, reached
// through one atomic pointer. Apply builds the next Catalog beside the old one, sharing what did not change, and
// publishes it; no reader takes a lock, and a snapshot is written from a Catalog while commands go on being applied.
//
// # What a command may depend on
//
// All replicas must read a command the same way, also while nodes run different versions of this program. Anything
// that a later version might decide differently (placement, defaults, the valid values of a configuration key) is
// therefore decided once, by the proposer, in a Plan function; the command carries the outcome. Apply checks what only
// the replicated state can tell (does the name exist, is the node registered) and what the command format fixes for
// ever (bounds, the alphabet of names). Random ids are in the command for the same reason.
//
// A command that the state forbids is refused: the Result says why, in Kafka's error codes, on every replica alike. A
// command that this binary does not know stops the group (*UnknownCommandError, *FeatureLevelError), as do bytes that
// are not a command (*MalformedError). The feature level keeps that from happening: each kind of command has the level
// that introduced it, proposers ask Catalog.Allows first, and the level is raised only when every node can read it.
//
// # Ids
//
// GroupIDs, ReplicaIDs and producer ids come from counters that never go back, so that no log entry, file or sequence
// number of a deleted thing can be taken for one of its successor's. Deleting a topic leaves a tombstone per group that
// lists the replicas whose files are still there; each node strikes itself off (FilesGone) when it has removed them.
package meta
