// Package disk is a bounded store of records on disk: a log of segment files, an index in memory, one goroutine that writes.
//
// A record has a key, some meta bytes and a body. What the key and the meta mean is the caller's affair. Records are appended to the
// active segment; a full segment is sealed, and a list of what it holds is written next to it. When the budget is used up, the oldest
// segment goes as a whole; what has been read since it was written, and is neither superseded nor expired, is appended anew.
//
// So the place in the log is the order of events: a newer record of the same key and variant, or a tombstone, always stands behind
// what it makes obsolete, and leaves the disk after it. That is why a restart can't bring back what was replaced or deleted, why
// tombstones need no care, and why the segments can be read from the newest to the oldest while the store already serves.
//
// A body of more than 1 MiB is stored in parts, which are records of their own, and a head, which is written after them and names their
// generation. A body that is cut short has no head, and is never seen.
//
// # What is served
//
// Everything that is returned has passed its checksum (CRC-32C): the header with key and meta as one, the body in chunks of 64 KiB, so that a
// part of a body is verified without the rest. What fails is a miss, and is forgotten.
//
// # Crashes
//
// After the process is killed everything is there that was written: at most the last records that were still queued are missing. [Store.Flush] waits
// for those. What was being written is recognised as torn. Segments are synced when they are sealed, and within a second after a deletion; events
// before AppendEvent returns. So after a loss of power up to one segment of the newest records may be missing, and what was
// deleted in the last second may be back.
//
// A log that is damaged elsewhere than at its torn end, or events that are, may have lost a deletion: what is older is given up then.
//
// # A disk that fails
//
// A read for a client is waited for two seconds, ten in the middle of a body, and is a miss then. Until it has ended no other one is begun.
//
// A write that fails takes the store out of service for writing: nothing is stored, what can be read is still read, and it is tried again later, after
// a second at first, then less often, at least every minute. Deletions are kept until they can be written; when there are too
// many, everything on disk is given up instead.
package disk
