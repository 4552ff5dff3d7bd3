"""How benchmarks say a figure and its target."""


class Report:
    """Prints a line a target; `missed` counts those that are not met."""
    missed = 0

    def __call__(self, what: str, value: float, target: float, at_least: bool, detail: str):
        met = value >= target if at_least else value <= target
        self.missed += not met
        print(f'{what}: {value:.2f}, target {"at least" if at_least else "at most"} {target:g}: '
              f'{"met" if met else "MISSED"} ({detail})', flush=True)
