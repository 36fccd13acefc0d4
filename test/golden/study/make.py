"""Writes journal.log with optuna itself, and what optuna reads in it as journal.json.

Run: python make.py [FOLDER], with `pip install optuna` (5.0.0 wrote the files here). `python make.py FOLDER FILE` reads
a journal of another program in place of its own, and prints it as JSON.
"""

import json
import os
import sys

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

optuna.logging.set_verbosity(optuna.logging.ERROR)


def described(path):
    storage = JournalStorage(JournalFileBackend(path))
    found = []
    for frozen in storage.get_all_studies():
        study = optuna.load_study(study_name=frozen.study_name, storage=storage)
        trials = [
            {
                "number": trial.number,
                "state": trial.state.name,
                "values": trial.values,
                "params": trial.params,
                "distributions": {
                    name: json.loads(optuna.distributions.distribution_to_json(each))
                    for name, each in trial.distributions.items()
                },
                "user_attrs": trial.user_attrs,
                "system_attrs": trial.system_attrs,
                "intermediate": {str(step): value for step, value in trial.intermediate_values.items()},
            }
            for trial in study.trials
        ]
        directions = [direction.name for direction in study.directions]
        best = max((t for t in study.trials if t.state == TrialState.COMPLETE), key=lambda t: t.value, default=None)
        found.append(
            {
                "name": study.study_name,
                "directions": directions,
                "user_attrs": study.user_attrs,
                "trials": trials,
                "best": best and best.number,
            }
        )
    return found


def write(path):
    if os.path.exists(path):
        os.remove(path)
    storage = JournalStorage(JournalFileBackend(path))
    optuna.create_study(study_name="other", storage=storage)
    study = optuna.create_study(
        study_name="sweep",
        storage=storage,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=1, n_startup_trials=3),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    )
    study.set_user_attr("note", {"é": [1, None, True]})

    def objective(trial):
        lr = trial.suggest_float("lr", 1e-4, 1e-2, log=True)
        rank = trial.suggest_int("r", 2, 16)
        method = trial.suggest_categorical("method", ["lora", "dora", None])
        trial.set_user_attr("seconds", 1.5)
        for step in range(1, 4):
            trial.report(lr * rank * step, step)
            if trial.should_prune():
                raise optuna.TrialPruned()
        if rank == 3:
            raise ValueError("made to fail")
        return lr * rank + (method == "dora")

    study.enqueue_trial({"lr": 1e-3, "r": 3, "method": "lora"})
    study.optimize(objective, n_trials=8, catch=(ValueError,))
    study.enqueue_trial({"lr": 2e-3, "r": 4, "method": "dora"})


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    if len(sys.argv) > 2:
        print(json.dumps(described(sys.argv[2])))
    else:
        write(os.path.join(folder, "journal.log"))
        with open(os.path.join(folder, "journal.json"), "w") as out:
            json.dump(described(os.path.join(folder, "journal.log")), out, indent=1)
            out.write("\n")
