package api

import (
	"context"
	"math"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/meta"
)

// producerIDs hands out ids from blocks that the metadata group issues, so that most producers cost no proposal. What is
// left of a block when the node stops is never used.
type producerIDs struct {
	mu    sync.Mutex // held while a block is fetched: whoever comes meanwhile needs that block too
	next  int64
	until int64
}

const producerIDBlock = 1000

func (h *Handler) nextProducerID(ctx context.Context) (int64, int16) {
	h.pids.mu.Lock()
	defer h.pids.mu.Unlock()
	if h.pids.next == h.pids.until {
		result, err := h.cfg.Cluster.Propose(ctx, meta.IssueProducerIDs{Count: producerIDBlock})
		switch {
		case err != nil:
			return -1, code(err)
		case result.Refused != nil:
			return -1, int16(result.Refused.Code)
		}
		h.pids.next = result.Producers.First
		h.pids.until = h.pids.next + int64(result.Producers.Count)
	}
	h.pids.next++
	return h.pids.next - 1, 0
}

// initProducerID gives an idempotent producer its id. A producer that comes with one gets it back with the next epoch, as
// long as there is one: it asks because it can no longer tell which of its batches were written.
func (h *Handler) initProducerID(ctx context.Context, q *kmsg.InitProducerIDRequest) kmsg.Response {
	resp := q.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	if q.TransactionalID != nil {
		resp.ErrorCode = codeTransactionalNotAuthorized
		return resp
	}
	if q.ProducerID >= 0 && q.ProducerEpoch >= 0 && q.ProducerEpoch < math.MaxInt16 {
		resp.ProducerID, resp.ProducerEpoch = q.ProducerID, q.ProducerEpoch+1
		return resp
	}
	if resp.ProducerID, resp.ErrorCode = h.nextProducerID(ctx); resp.ErrorCode == 0 {
		resp.ProducerEpoch = 0
	}
	return resp
}
