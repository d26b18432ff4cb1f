// Package api answers Kafka requests: one file per request, named by its key.
//
// Produce is the hot path and has a hand-written codec; it is decided and queued on the connection's reader goroutine and
// answered by whichever goroutine completes the quorum. All other requests are decoded by kmsg, behind kwire's bounding
// pass. Those that may have to wait (a long poll, a metadata command) do so on a goroutine of their own, so that requests
// behind them on the connection are still read.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/api/origin"
	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/meta"
	"ackline/broker/meta/petition"
	"ackline/broker/metric/histogram"
	"ackline/broker/partition"
	"ackline/broker/replica"
	"ackline/broker/server"
)

// Cluster is the metadata group as requests see it.
type Cluster interface {
	// Catalog returns the newest applied catalog.
	Catalog() *meta.Catalog
	// CatchUp returns once Catalog has everything that was acknowledged, by any node, before the call. It goes on until ctx ends.
	CatchUp(ctx context.Context) error
	// Propose runs a command through the metadata group and returns what applying it returned.
	Propose(ctx context.Context, c meta.Command) (meta.Result, error)
}

// Hosts finds the partitions that this node holds replicas of.
type Hosts interface {
	// Partition returns nil when the group is not here, or not open yet.
	Partition(g id.GroupID) *partition.Partition
	// Leader returns who leads a group, here or elsewhere; false when nobody is known to.
	Leader(g id.GroupID) (Leader, bool)
	// Alive tells whether a node is there, as far as this one can see now.
	Alive(n id.NodeID) bool
	// Nearest returns another node whose replica of a group that this one leads serves consumers in a rack better, if there is one.
	Nearest(g id.GroupID, rack string) (id.NodeID, bool)
	// Changed is closed when something changes here: a group is opened or closed, or has another leader.
	Changed() <-chan struct{}
	// AwaitOpen returns once this node's replicas of a topic are open and those that it should lead have a leader.
	AwaitOpen(ctx context.Context, t *meta.Topic) error
}

// Config says what requests are answered from. Zero values are not usable unless said otherwise.
type Config struct {
	Cluster Cluster
	Hosts   Hosts
	// Drive starts the WAL's writer for what has been proposed.
	Drive func()
	// Settled tells whether the catalog has everything that was committed before this node started. Until then a topic that it
	// does not know may exist.
	Settled func() bool
	// Writable returns why writes are refused for the moment, nil when they are not.
	Writable func() error
	Self     id.NodeID
	// AutoCreate makes Metadata create topics that it is asked for, when the client allows it. Default off.
	AutoCreate bool
	// DefaultPartitions is the number of partitions of a topic whose creator leaves it open. 0 means 1.
	DefaultPartitions int32
	// MaxFetchBytes bounds one Fetch response, in bytes; 0 means 55 MiB, as in Kafka.
	MaxFetchBytes int
	// Limits bounds what CreateTopics and alterations may ask for, and its MaxMessageBytes what Produce may send whatever the topic allows; 0 there: no bound.
	Limits meta.Limits
	// Forward gives a node that leads a partition what Forwarded takes there. Nil: produces are not forwarded, the client is told who
	// leads. NotDone of an error says that nothing was done there.
	Forward func(ctx context.Context, to id.NodeID, question []byte) ([]byte, error)
	// ThrottleMs is asked with each Produce response how long it is to tell its client to wait, in milliseconds; the connection is
	// not read for as long. Nil: not at all.
	ThrottleMs func() int32
	// Origins counts where what is proposed comes from. Nil: nobody wants to know.
	Origins *origin.Tally
	// Now is the monotonic clock in nanoseconds.
	Now func() int64
	Log *slog.Logger
}

// Handler answers requests. It implements server.Handler.
type Handler struct {
	cfg      Config
	Counters Counters

	ctx    context.Context // ends when the node stops: waits end with it
	cancel context.CancelFunc
	mu     sync.Mutex // guards closed, and waits against a wait that begins while Close waits
	closed bool
	waits  sync.WaitGroup

	pids    producerIDs
	pending atomic.Int64 // batches that wait for their commit
	detours detours
}

// Pending is the number of batches that wait for their commit.
func (h *Handler) Pending() int64 { return h.pending.Load() }

// New returns a handler.
func New(cfg Config) *Handler {
	if cfg.DefaultPartitions == 0 {
		cfg.DefaultPartitions = 1
	}
	if cfg.MaxFetchBytes == 0 {
		cfg.MaxFetchBytes = 55 << 20
	}
	h := &Handler{cfg: cfg}
	h.Counters.FetchDuration = histogram.New(histogram.Latency)
	h.Counters.ProduceThrottle = histogram.New(histogram.Latency)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// Close ends every wait and returns when the last has answered.
func (h *Handler) Close() {
	h.cancel()
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.waits.Wait()
}

// enter makes Close wait for waits.Done, unless it has begun to.
func (h *Handler) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.waits.Add(1)
	}
	return !h.closed
}

// async runs f, which may have to wait, on a goroutine of its own. Once the handler is closed it runs f at once: whatever f waits
// for ends with ctx.
func (h *Handler) async(f func()) {
	if !h.enter() {
		f()
		return
	}
	go func() {
		defer h.waits.Done()
		f()
	}()
}

// Serve implements server.Handler.
func (h *Handler) Serve(r *server.Request) {
	if k := r.Header.Key; k >= 0 && int(k) < len(h.Counters.Requests) {
		h.Counters.Requests[k].Add(1)
	}
	if r.Header.Key == kwire.KeyProduce {
		h.produce(r)
		return
	}
	if r.Unsupported != nil {
		h.reply(r, kwire.ApiVersions(codeUnsupportedVersion))
		return
	}
	req, err := kwire.Decode(r.Header)
	if err != nil {
		// A request that cannot be read cannot be answered in a form that its sender would understand.
		r.Abort()
		return
	}
	switch q := req.(type) {
	case *kmsg.FetchRequest:
		h.fetch(r, q)
	case *kmsg.ListOffsetsRequest:
		h.reply(r, h.listOffsets(q))
	case *kmsg.MetadataRequest:
		h.metadata(r, q)
	case *kmsg.FindCoordinatorRequest:
		h.reply(r, h.findCoordinator(q))
	case *kmsg.ApiVersionsRequest:
		h.reply(r, kwire.ApiVersions(0))
	case *kmsg.CreateTopicsRequest:
		h.wait(r, q.TimeoutMillis, func(ctx context.Context) kmsg.Response { return h.createTopics(ctx, q) })
	case *kmsg.DeleteTopicsRequest:
		h.wait(r, q.TimeoutMillis, func(ctx context.Context) kmsg.Response { return h.deleteTopics(ctx, q) })
	case *kmsg.InitProducerIDRequest:
		h.wait(r, int32(metadataTimeout.Milliseconds()), func(ctx context.Context) kmsg.Response { return h.initProducerID(ctx, q) })
	case *kmsg.OffsetForLeaderEpochRequest:
		h.reply(r, h.offsetForLeaderEpoch(q))
	case *kmsg.DescribeClusterRequest:
		h.reply(r, h.describeCluster(q))
	case *kmsg.DescribeConfigsRequest:
		h.wait(r, 0, func(ctx context.Context) kmsg.Response { return h.describeConfigs(ctx, q) })
	case *kmsg.AlterConfigsRequest:
		h.wait(r, 0, func(ctx context.Context) kmsg.Response { return h.alterations().Replace(ctx, q) })
	case *kmsg.IncrementalAlterConfigsRequest:
		h.wait(r, 0, func(ctx context.Context) kmsg.Response { return h.alterations().Incremental(ctx, q) })
	default:
		// The table of served requests and this switch differ: a defect, not a client's mistake.
		panic(fmt.Sprintf("api: request key %d version %d is advertised and not handled", r.Header.Key, r.Header.Version))
	}
}

// Flush implements server.Handler: everything that one read brought is proposed, so now it is written. Replies wake many
// clients at once, and their requests arrive together: while other batches wait too, the readers that have become runnable
// propose what they have first. Otherwise the quickest of them writes its own few requests at once, and everybody else's wait
// for a whole write more. A request that is alone goes straight on: a yield may wake another thread to look for work.
func (h *Handler) Flush(*server.Conn) {
	if h.pending.Load() > 1 {
		runtime.Gosched()
	}
	h.cfg.Drive()
}

func (h *Handler) reply(r *server.Request, resp kmsg.Response) {
	r.Buf = kwire.AppendResponse(r.Buf[:0], r.Header, resp)
	r.Reply()
}

const metadataTimeout = 30 * time.Second

// wait answers a request from a goroutine of its own, with a context that ends at the request's time-out.
func (h *Handler) wait(r *server.Request, timeoutMs int32, answer func(context.Context) kmsg.Response) {
	timeout := time.Duration(timeoutMs) * time.Millisecond
	if timeout <= 0 || timeout > 5*time.Minute {
		timeout = metadataTimeout
	}
	h.async(func() {
		ctx, cancel := context.WithTimeout(h.ctx, timeout)
		defer cancel()
		h.reply(r, answer(ctx))
	})
}

// locate finds a partition of the catalog; the code says why there is none.
func (h *Handler) locate(t *meta.Topic, n int32) (*partition.Partition, int16) {
	if t == nil || n < 0 || int(n) >= len(t.Partitions) {
		return nil, h.unknown(codeUnknownTopicOrPartition)
	}
	place := &t.Partitions[n]
	if p := h.cfg.Hosts.Partition(place.Group); p != nil {
		return p, 0
	}
	for _, r := range place.Replicas {
		if r.Node == h.cfg.Self {
			return nil, codeLeaderNotAvailable // placed here and not open yet
		}
	}
	return nil, codeNotLeader
}

// unknown is the code for what the catalog does not know. Clients give up on an unknown topic after a few attempts, and a
// consumer may take it for deleted, so a node that has not heard yet says something else.
func (h *Handler) unknown(code int16) int16 {
	if !h.cfg.Settled() {
		return codeLeaderNotAvailable
	}
	return code
}

// Kafka's error codes that this package answers with.
const (
	codeUnknownServerError         int16 = -1
	codeOffsetOutOfRange           int16 = 1
	codeUnknownTopicOrPartition    int16 = 3
	codeLeaderNotAvailable         int16 = 5
	codeNotLeader                  int16 = 6
	codeRequestTimedOut            int16 = 7
	codeMessageTooLarge            int16 = 10
	codeCoordinatorNotAvailable    int16 = 15
	codeNotEnoughReplicas          int16 = 19
	codeInvalidRequiredAcks        int16 = 21
	codeUnsupportedVersion         int16 = 35
	codeTopicAlreadyExists         int16 = 36
	codeInvalidRequest             int16 = 42
	codeOutOfOrderSequence         int16 = 45
	codeInvalidProducerEpoch       int16 = 47
	codeTransactionalNotAuthorized int16 = 53
	codeStorageError               int16 = 56
	codeFetchSessionIDNotFound     int16 = 70
	codeFencedLeaderEpoch          int16 = 74
	codeUnknownLeaderEpoch         int16 = 75
	codeOffsetNotAvailable         int16 = 78
	codeThrottlingQuotaExceeded    int16 = 89
	codeUnknownTopicID             int16 = 100
)

// code translates an error of the layers below into Kafka's.
func code(err error) int16 {
	var batch *kwire.BatchError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &batch):
		return batch.Code
	case errors.Is(err, partition.ErrNotLeader):
		return codeNotLeader
	case errors.Is(err, partition.ErrUnknown), errors.Is(err, partition.ErrTimedOut), errors.Is(err, petition.ErrRepeated),
		errors.Is(err, context.DeadlineExceeded):
		return codeRequestTimedOut // retriable, and it promises nothing
	case errors.Is(err, replica.ErrNotLeader), errors.Is(err, replica.ErrStopped):
		return codeNotLeader
	case errors.Is(err, replica.ErrBusy):
		return codeNotEnoughReplicas // retriable, and nothing was written
	case errors.Is(err, partition.ErrOutOfOrder):
		return codeOutOfOrderSequence
	case errors.Is(err, partition.ErrFenced):
		return codeInvalidProducerEpoch
	case errors.Is(err, partition.ErrOffsetOutOfRange):
		return codeOffsetOutOfRange
	case errors.Is(err, partition.ErrNotReady):
		return codeOffsetNotAvailable
	}
	return codeUnknownServerError
}
