package page

import (
	"encoding/json"
	"math"
	"strconv"
)

// A Trend is the compliance in percent at regular intervals over the 24 hours before Head.Time, oldest first. A point without data is NaN,
// and null in JSON.
type Trend []float32

// MarshalJSON writes null for NaN, because JSON has no NaN.
func (t Trend) MarshalJSON() ([]byte, error) {
	text := []byte{'['}
	for i, value := range t {
		if i > 0 {
			text = append(text, ',')
		}
		if math.IsNaN(float64(value)) {
			text = append(text, "null"...)
		} else {
			text = strconv.AppendFloat(text, float64(value), 'f', -1, 32)
		}
	}
	return append(text, ']'), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Trend) UnmarshalJSON(text []byte) error {
	var values []*float32
	if err := json.Unmarshal(text, &values); err != nil {
		return err
	}
	*t = make(Trend, len(values))
	for i, value := range values {
		(*t)[i] = float32(math.NaN())
		if value != nil {
			(*t)[i] = *value
		}
	}
	return nil
}
