import type { Tensor } from '../tensor.ts'
import { distilled } from './distillation.ts'
import type { TrainSettings } from './settings.ts'
import { type Objective, type SupervisedOptions, supervised } from './step.ts'

/** What micro-batches of a run are trained for: its own objective, else a teacher and the labels, else the labels. */
export function objectiveOf(settings: TrainSettings, classWeights: Tensor | undefined): Objective {
  const { objective, teacher, teacherWeight: weight, teacherTemperature: temperature } = settings
  if (objective) return objective
  if (teacher) return distilled({ teacher, weight, temperature, ...labelOptions(settings) })
  return supervised({ ...labelOptions(settings), classWeights })
}

/** How the labels of a run are weighed. */
export function labelOptions(settings: TrainSettings): Omit<SupervisedOptions, 'classWeights'> {
  const { neftune, labelSmoothing, gradientCheckpointing: checkpoint } = settings
  return { neftune, labelSmoothing, checkpoint }
}
