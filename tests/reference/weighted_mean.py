"""The weighted sum of states, number by number."""

import torch


def weighted_sum(states, weights):
    """Return sum_k w_k theta_k for floating-point tensors and the maximum where w_k is not zero for integer ones."""
    out = {}
    for key, first in states[0].items():
        columns = [state[key].flatten().tolist() for state in states]
        numbers = []
        for i in range(first.numel()):
            if first.is_floating_point():
                total = 0.0
                for weight, column in zip(weights, columns, strict=True):
                    total += float(weight) * column[i]
                numbers.append(total)
            else:
                numbers.append(max(column[i] for weight, column in zip(weights, columns, strict=True) if weight))
        out[key] = torch.tensor(numbers, dtype=first.dtype).reshape(first.shape)
    return out
