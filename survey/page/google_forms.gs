/**
 * Makes a Google form of this study: a page for each picture, with its question below it.
 *
 * 1. Put the pictures where Google can read them: upload the folder `images` to your Drive and write
 *    the folder's id (the last part of its address) below, or put the study on the web and write
 *    its address below.
 * 2. On script.google.com, make a project, paste this file, and run `makeForm`.
 * 3. The addresses of the form stand in the execution log. Collect the answers into a sheet and
 *    download that as CSV: `impasto survey import` reads it.
 *
 * A form has one order for everybody. For more, run it again with another ORDER.
 */
var ORDER = 1;
var DRIVE_FOLDER_ID = "";
var BASE_URL = /*BASE_URL*/"";

var STUDY = /*STUDY*/{};

function makeForm() {
  var trials = STUDY.orders[ORDER - 1];
  if (!trials) {
    throw new Error("ORDER is 1 to " + STUDY.orders.length);
  }
  if (!DRIVE_FOLDER_ID && !BASE_URL) {
    throw new Error("Write DRIVE_FOLDER_ID or BASE_URL at the top of the script");
  }
  var form = FormApp.create(STUDY.title);
  form.setDescription(STUDY.description);
  form.setProgressBar(true);
  form.setAllowResponseEdits(false);
  form.setShowLinkToRespondAgain(false);
  // Shuffling would part the pictures from their questions.
  form.setShuffleQuestions(false);
  form.addTextItem().setTitle(STUDY.participant);
  STUDY.practice.forEach(function (example, place) {
    addPage(form, STUDY.practice_where, place, STUDY.practice.length);
    addPictures(form, example.trial);
    form.addSectionHeaderItem().setTitle(example.says);
  });
  trials.forEach(function (trial, place) {
    addPage(form, STUDY.trial_where, place, trials.length);
    addPictures(form, trial);
    form.addMultipleChoiceItem()
      .setTitle(STUDY.question + " [" + trial.join(" ") + "]")
      .setChoiceValues(STUDY.choices)
      .setRequired(true);
    Utilities.sleep(100);
  });
  Logger.log("To take part: " + form.getPublishedUrl());
  Logger.log("To edit: " + form.getEditUrl());
}

function addPage(form, where, place, total) {
  form.addPageBreakItem()
    .setTitle(where.replace("{number}", place + 1).replace("{total}", total));
}

function addPictures(form, trial) {
  trial.forEach(function (token, side) {
    form.addImageItem()
      .setTitle(trial.length > 1 ? STUDY.choices[side] : "")
      .setAlignment(FormApp.Alignment.CENTER)
      .setWidth(Math.min(STUDY.width, 740))
      .setImage(readPicture(token));
  });
}

function readPicture(token) {
  var name = STUDY.pictures[token];
  if (!DRIVE_FOLDER_ID) {
    return UrlFetchApp.fetch(BASE_URL + name).getBlob();
  }
  var files = DriveApp.getFolderById(DRIVE_FOLDER_ID).getFilesByName(name.split("/").pop());
  if (!files.hasNext()) {
    throw new Error("The folder has no " + name);
  }
  return files.next().getBlob();
}
