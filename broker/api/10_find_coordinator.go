package api

import "github.com/twmb/franz-go/pkg/kmsg"

// findCoordinator tells the truth: there are no coordinators, since consumer groups and transactions are not served.
func (h *Handler) findCoordinator(q *kmsg.FindCoordinatorRequest) kmsg.Response {
	resp := q.ResponseKind().(*kmsg.FindCoordinatorResponse)
	message := "this broker has no group or transaction coordinator"
	if q.Version < 4 {
		resp.NodeID, resp.Port, resp.ErrorCode, resp.ErrorMessage = -1, -1, codeCoordinatorNotAvailable, &message
		return resp
	}
	for _, key := range q.CoordinatorKeys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.NodeID, c.Port, c.ErrorCode, c.ErrorMessage = key, -1, -1, codeCoordinatorNotAvailable, &message
		resp.Coordinators = append(resp.Coordinators, c)
	}
	return resp
}
