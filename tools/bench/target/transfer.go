package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// transferPath makes another node lead. The answer lists what failed.
const transferPath = "/admin/transfer"

// Transfer makes node i lead the topic's first partition, and returns when the cluster says that it does.
func (n Nodes) Transfer(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	ask, err := json.Marshal(map[string]any{"topic": n.Topic, "partition": 0, "to": i + 1})
	if err != nil {
		return err
	}
	for last := error(nil); ; {
		lead, err := n.Leads(ctx)
		if err == nil && lead == i {
			return nil
		}
		if err == nil {
			err = n.hand(ctx, lead, ask)
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %d does not come to lead %s: %w", i+1, n.Topic, errors.Join(context.Cause(ctx), last))
		case <-time.After(leaderPoll):
		}
	}
}

// hand asks a node once.
func (n Nodes) hand(ctx context.Context, of int, ask []byte) error {
	text, err := n.Nodes[of].http(ctx, http.MethodPost, transferPath, ask)
	if err != nil {
		return err
	}
	var answer struct {
		Failed []struct {
			Why string `json:"why"`
		} `json:"failed"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return fmt.Errorf("broker: %s: %w", transferPath, err)
	}
	if len(answer.Failed) > 0 {
		return fmt.Errorf("broker: %s: %s", transferPath, answer.Failed[0].Why)
	}
	return nil
}
