package server

import "sync/atomic"

// Counters count what a server did since it was made. They only go up, are written by anyone and may be read at any
// time.
type Counters struct {
	Accepted atomic.Uint64            // connections
	Closed   atomic.Uint64            // connections, for whatever cause; Accepted - Closed are open
	Refused  atomic.Uint64            // connections above MaxConnections, closed at accept
	Ended    [NumCauses]atomic.Uint64 // connections, by cause; they add up to Closed

	Requests atomic.Uint64 // handed to the handler
	Replies  atomic.Uint64 // taken by the kernel, or discarded as the protocol wants it (acks=0)
	BytesIn  atomic.Uint64
	BytesOut atomic.Uint64

	Writes       atomic.Uint64 // write attempts of completing goroutines
	ShortWrites  atomic.Uint64 // those that did not take everything
	WriterStarts atomic.Uint64 // writer goroutines started: short writes, and every reply on a TLS connection
	WriterWrites atomic.Uint64 // writes of writer goroutines

	PipelineWaits atomic.Uint64 // readers that stopped: MaxPipeline or MaxQueuedReplyBytes
	MemoryWaits   atomic.Uint64 // readers that stopped: MaxInflightBytes
	Mutes         atomic.Uint64 // readers that stopped: Request.Mute
}

// Cause is why a connection ended.
type Cause uint8

const (
	CauseClient     Cause = iota // the client closed it, or the network did
	CauseShutdown                // we are shutting down
	CauseHandler                 // the handler aborted it
	CauseFrame                   // a frame's length is negative, too small or above MaxFrameBytes
	CauseHeader                  // a request's header cannot be read
	CauseVersion                 // an unknown request key, or a version that is not served
	CauseIdle                    // IdleTimeout
	CauseSlowFrame               // FrameTimeout
	CauseSlowReader              // WriteTimeout
	// NumCauses is how many there are.
	NumCauses = iota
)

// CauseNames are the causes' names in metrics, in order.
var CauseNames = [NumCauses]string{
	"client", "shutdown", "handler", "frame", "header", "version", "idle", "slow_frame", "slow_reader",
}

func (c Cause) String() string { return CauseNames[c] }
